"""Prompts and completions as HTML. What a model writes is hostile input: it is parsed, rebuilt and then sanitised."""

import html
import logging
import re
import time
import unicodedata
from collections.abc import Sequence
from io import StringIO

import nh3
from django.utils.html import format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.rules_core import StateCore
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.token import STANDARD_TYPES

from labelapp.prompts import formulas
from labelapp.prompts.dialect import TooManyPiecesError, dialect_plugin
from labelapp.prompts.hidden_characters import reveal_hidden

log = logging.getLogger(__name__)

MARKDOWN_LIMIT = 40_000
"""Longest text that is formatted, in characters. Beyond it the worst texts would take seconds."""

SETTING_LIMIT = 40_000
"""Characters of code, or half as many of LaTeX, that are set in one text; the rest is shown as it was written."""

SETTING_COST = 30
"""What setting a piece costs however short it is, in the same unit."""

CODE_LIMIT = 10_000
HIGHLIGHT_SECONDS = 0.2
MAX_NESTING = 60
LANGUAGES = frozenset({
    "bash", "c", "c++", "cpp", "cs", "csharp", "css", "dart", "diff", "docker", "dockerfile", "go", "golang",
    "haskell", "html", "java", "javascript", "js", "json", "julia", "kotlin", "lua", "make", "makefile",
    "matlab", "objective-c", "perl", "php", "powershell", "py", "python", "python3", "r", "rb", "rs", "ruby", "rust",
    "scala", "sh", "shell", "sql", "swift", "toml", "ts", "typescript", "xml", "yaml", "yml",
})  # fmt: skip
HEADINGS = {"h1": "h4", "h2": "h5", "h3": "h6"}
_CONTAINERS = frozenset({"ul", "ol", "blockquote"})
_AUTO = frozenset({"p", "h4", "h5", "h6", "table", "th", "td"})
_BLOCKS = _AUTO | _CONTAINERS
_LINK = re.compile(r"https?://[^/\s]|mailto:[^\s]", re.IGNORECASE)
_LONG_GAP = re.compile(r"\s{200}")  # the patterns for C take seconds on these
_ALIGN = re.compile(r"text-align:(center|right)")

_INLINE = frozenset({"a", "br", "code", "em", "s", "span", "strong"})
_TAGS = _BLOCKS | _INLINE | formulas.ELEMENTS | {"div", "hr", "li", "pre", "thead", "tbody", "tr"}
_ATTRIBUTES = {
    **{tag: {"dir"} for tag in _BLOCKS},
    **{tag: set(formulas.ATTRIBUTES) for tag in formulas.ELEMENTS},
    "a": {"href", "title"},
    "ol": {"dir", "start"},
    "div": {"tabindex", "role", "aria-label"},
    "pre": {"dir", "data-language"},
    "th": {"dir", "data-align"},
    "td": {"dir", "data-align"},
}
_CLASSES = {"span": {*STANDARD_TYPES.values(), "image-text"} - {""}, "div": {"scroll"}, "code": {"formula"}}
# Made once: reading these lists takes ten times as long as cleaning an ordinary text.
_CLEANER = nh3.Cleaner(
    tags=_TAGS,
    attributes=_ATTRIBUTES,
    allowed_classes=_CLASSES,
    set_tag_attribute_values={"a": {"target": "_blank"}},
    link_rel="nofollow noopener noreferrer",
    url_schemes={"http", "https", "mailto"},
    url_relative="deny",
)


def render_markdown(text: str) -> SafeString:
    """Return `text`, read as Markdown with tables, code and LaTeX, as safe HTML.

    Nothing of the text is dropped: what cannot be formatted (too long, nested too deep, a fault) is shown plainly.
    """
    if len(text) > MARKDOWN_LIMIT:
        return _plain(text, why="long")
    try:
        tokens = _MARKDOWN.parse(text)
        if _is_cut_off(tokens):
            return _plain(text, why="deep")
        body = _MARKDOWN.renderer.render(tokens, _MARKDOWN.options, {})
    except TooManyPiecesError:
        return _plain(text, why="long")
    except Exception as fault:  # a labeler must be able to read any text, whatever it does to the parser
        log.warning("A text of %d characters could not be formatted: %s", len(text), type(fault).__name__)
        return _plain(text, why="fault")
    clean = mark_safe(reveal_hidden(_CLEANER.clean(body)))  # noqa: S308 (this is where it became safe)
    return format_html('<div class="prose" dir="auto">{}</div>', clean)


def _plain(text: str, *, why: str) -> SafeString:
    return format_html('<div class="prose plain" dir="auto" data-why="{}">{}</div>', why, reveal_hidden(text))


def _is_cut_off(tokens: Sequence[Token]) -> bool:
    """Whether the parser stopped at its nesting limit, where it drops the rest of the block without a word."""
    return any(token.level + max(token.nesting, 0) >= MAX_NESTING for token in tokens)


def _safe_link(url: str) -> bool:
    return _LINK.match(url) is not None


def _direct_containers(tokens: Sequence[Token]) -> None:
    """Give each container the direction of its first text; `auto` would overlook text in blocks with a direction."""
    first, direction = "", "ltr"
    for token in reversed(tokens):
        if token.type == "inline":
            first, direction = token.content, ""
        elif token.nesting == 1 and token.tag in _CONTAINERS:
            direction = direction or _direction(first)
            token.attrSet("dir", direction)


def _direction(text: str) -> str:
    strong = (unicodedata.bidirectional(character) for character in text)
    return "rtl" if next((kind for kind in strong if kind in {"L", "R", "AL"}), "L") != "L" else "ltr"


def _prepare(state: StateCore) -> None:
    """Last step of parsing: page structure, direction and alignment of blocks; images become words."""
    _direct_containers(state.tokens)
    for token in state.tokens:
        if token.tag in ("h1", "h2", "h3", "h4"):
            token.tag = HEADINGS.get(token.tag, "h6")
        if token.nesting == 1 and token.tag in _AUTO:
            token.attrSet("dir", "auto")
        if align := _ALIGN.match(str(token.attrGet("style") or "")):
            token.attrSet("data-align", align[1])
        if token.children and any(child.type == "image" for child in token.children):
            token.children = _without_images(token.children)


def _without_images(children: Sequence[Token]) -> list[Token]:
    """Name each image and link to it: fetching it would tell its owner who reads what, and when."""
    result: list[Token] = []
    links = 0
    for child in children:
        links += child.nesting if child.type in ("link_open", "link_close") else 0
        if child.type != "image":
            result.append(child)
            continue
        name = Token("image_text", "span", 0, content=child.content or _("no description"))
        url = str(child.attrGet("src") or "")
        result.append(name)
        if not links and _safe_link(url):
            result += [
                Token("text", "", 0, content=" "),
                Token("link_open", "a", 1, attrs={"href": url}),
                Token("text", "", 0, content=url),
                Token("link_close", "a", -1),
            ]
    return result


class _Renderer(RendererHTML):
    """What the library would write in another way; each public method renders the token type of its name."""

    def image_text(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        label = _("Image:")
        return f'<span class="image-text">{label} {html.escape(tokens[idx].content)}</span>'

    def table_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        label = _("Table")
        return f'<div class="scroll" tabindex="0" role="group" aria-label="{label}"><table dir="auto">'

    def table_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return "</table></div>"

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return _code(tokens[idx].content, tokens[idx].info.strip(), env)

    def code_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return _code(tokens[idx].content, "", env)

    def math_inline(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return _formula(tokens[idx], env, block=False)

    def math_inline_double(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return _formula(tokens[idx], env, block=True)

    def math_block(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f"<p>{_formula(tokens[idx], env, block=True)}</p>"


def _within_budget(length: int, env: EnvType) -> bool:
    env["set"] = env.get("set", 0) + length + SETTING_COST
    return bool(env["set"] <= SETTING_LIMIT)


def _code(code: str, info: str, env: EnvType) -> str:
    language = info.split(maxsplit=1)[0].lower() if info else ""
    quick = len(code) <= CODE_LIMIT and not _LONG_GAP.search(code)
    known = language in LANGUAGES and quick and _within_budget(len(code), env)
    body = _highlighted(code, language) if known else html.escape(code)
    label = f' data-language="{html.escape(info[:40])}"' if info else ""
    return f'<pre dir="{"ltr" if known else "auto"}"{label}><code>{body}</code></pre>'


def _highlighted(code: str, language: str) -> str:
    """Return `code` with its words classed, or as it is where a lexer's patterns stumble (some turn quadratic)."""
    stop = time.thread_time() + HIGHLIGHT_SECONDS
    words = []
    for word in get_lexer_by_name(language, stripnl=False, ensurenl=False).get_tokens(code):
        if time.thread_time() > stop:
            return html.escape(code)
        words.append(word)
    result = StringIO()
    HtmlFormatter(nowrap=True).format(words, result)
    return result.getvalue()


def _formula(token: Token, env: EnvType, *, block: bool) -> str:
    latex = token.content.strip()
    if _within_budget(2 * len(latex), env) and (math := formulas.mathml(latex, block=block)):
        return math
    closing = token.markup.translate(str.maketrans("([", ")]"))
    return f'<code class="formula">{html.escape(token.markup + token.content + closing)}</code>'


def _parser() -> MarkdownIt:
    options = {"html": False, "breaks": True, "maxNesting": MAX_NESTING}
    md = MarkdownIt("commonmark", options, renderer_cls=_Renderer).enable(["table", "strikethrough"])
    md.disable("reference")  # a reference definition is not shown, and could hide text
    md.validateLink = _safe_link  # type: ignore[method-assign]
    md.use(formulas.formulas_plugin)
    for kind in ("math_inline", "math_inline_double", "math_block"):  # the plugin brought its own rules
        md.add_render_rule(kind, getattr(_Renderer, kind))
    md.use(dialect_plugin)
    md.core.ruler.push("prepare", _prepare)
    return md


_MARKDOWN = _parser()
