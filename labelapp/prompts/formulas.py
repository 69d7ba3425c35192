r"""LaTeX in a text: finding it ($…$, $$…$$, \(…\), \[…\]) and setting it as MathML of harmless elements only."""

import html
import re
from xml.etree import ElementTree

from latex2mathml.converter import convert_to_element
from markdown_it import MarkdownIt
from markdown_it.rules_block import StateBlock
from markdown_it.rules_inline import StateInline
from mdit_py_plugins.dollarmath import dollarmath_plugin

from labelapp.prompts.hidden_characters import reveal_hidden

FORMULA_LIMIT = 2_000
"""Longest formula that is typeset, in characters; the converter's time grows faster than the length."""

FORMULA_LINES = 100
SEARCHED_LINES = 10_000
"""Lines of one text that are searched for the ends of displayed formulas."""

ELEMENTS = frozenset({
    "math", "menclose", "merror", "mfrac", "mi", "mmultiscripts", "mn", "mo", "mover", "mpadded",
    "mprescripts", "mroot", "mrow", "ms", "mspace", "msqrt", "mstyle", "msub", "msubsup", "msup",
    "mtable", "mtd", "mtext", "mtr", "munder", "munderover", "none",
})  # fmt: skip
ATTRIBUTES = frozenset({
    "accent", "columnalign", "columnlines", "columnspacing", "depth", "display", "displaystyle", "fence", "form",
    "height", "largeop", "linethickness", "lspace", "mathvariant", "maxsize", "minsize", "movablelimits", "notation",
    "rowlines", "rowspacing", "rspace", "scriptlevel", "stretchy", "voffset", "width",
})  # fmt: skip
# Words and short lengths only: a wide or far negative space could draw over the rest of the page.
_HARMLESS = re.compile(r"[a-z -]{1,60}|[0-3]|(?:-0?\.\d{1,4}|\+?\d?\.?\d{1,4})(?:em|ex|px|pt)(?: [0-3]em)*")
_SPACES = {
    "thinmathspace": ".167em", "mediummathspace": ".222em", "thickmathspace": ".278em",
    "negativethinmathspace": "-.167em", "negativemediummathspace": "-.222em", "negativethickmathspace": "-.278em",
}  # fmt: skip
# Definitions can expand without end, and comments would vanish.
_REFUSED = re.compile(r"\\(?:re|provide)?newcommand|\\[gex]?def|\\newenvironment|\\let|\\DeclareMathOperator|(?<!\\)%")


def mathml(latex: str, *, block: bool) -> str | None:
    """Return `latex` as a `<math>` element, or None where it cannot be typeset and is better shown as its source."""
    if len(latex) > FORMULA_LIMIT or _REFUSED.search(latex):
        return None
    try:
        math = convert_to_element(latex, display="block" if block else "inline")
    except Exception:  # the converter raises whatever its parser trips over
        return None
    if any(element.tag not in ELEMENTS for element in math.iter()):
        return None
    for element in math.iter():
        _make_harmless(element)
    return ElementTree.tostring(math, encoding="unicode")


def _make_harmless(element: ElementTree.Element) -> None:
    # The converter writes symbols as character references, to be unescaped in the finished text. Doing that for each
    # text by itself keeps a "<" of the formula a character.
    element.text = reveal_hidden(html.unescape(element.text or ""))
    element.attrib = {
        name: _SPACES.get(value, value)
        for name, value in element.attrib.items()
        if name in ATTRIBUTES and _HARMLESS.fullmatch(value)
    }


def formulas_plugin(md: MarkdownIt) -> None:
    """Teach `md` to find formulas: tokens math_inline, math_inline_double and math_block, with LaTeX as content."""
    dollarmath_plugin(
        md, allow_labels=False, allow_space=False, allow_digits=False, allow_blank_lines=False, double_inline=True
    )
    md.inline.ruler.before("escape", "math_bracket", _bracket_inline)
    md.block.ruler.before("fence", "math_bracket", _bracket_block, {"alt": ["paragraph", "blockquote", "list"]})


def _bracket_inline(state: StateInline, silent: bool) -> bool:
    opening = state.src[state.pos : state.pos + 2]
    if opening not in (r"\(", r"\["):
        return False
    closing = r"\)" if opening == r"\(" else r"\]"
    end = state.src.find(closing, state.pos + 2, state.pos + 2 + FORMULA_LIMIT)
    if end < 0:
        return False
    if not silent:
        token = state.push("math_inline" if opening == r"\(" else "math_inline_double", "math", 0)
        token.content = state.src[state.pos + 2 : end]
        token.markup = opening
    state.pos = end + 2
    return True


def _bracket_block(state: StateBlock, start: int, end: int, silent: bool) -> bool:
    if not _line(state, start).startswith(r"\["):
        return False
    for last in range(start, min(end, start + FORMULA_LINES)):
        state.env["searched"] = state.env.get("searched", 0) + 1
        if state.env["searched"] > SEARCHED_LINES:
            return False
        if not (line := _line(state, last)) or state.sCount[last] < state.blkIndent:
            return False
        if line.endswith(r"\]"):
            break
    else:
        return False
    if silent:
        return True
    lines = "\n".join(_line(state, number) for number in range(start, last + 1))
    if r"\]" in lines[2:-2]:
        return False
    state.line = last + 1
    token = state.push("math_block", "math", 0)
    token.block = True
    token.content = lines[2:-2]
    token.markup = r"\["
    token.map = [start, state.line]
    return True


def _line(state: StateBlock, number: int) -> str:
    return state.src[state.bMarks[number] + state.tShift[number] : state.eMarks[number]].rstrip()
