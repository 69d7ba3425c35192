"""Texts of models are hostile input: what comes out of rendering is formatted, complete and harmless."""

from html.parser import HTMLParser
from itertools import pairwise
from urllib.parse import urlsplit

import pytest
from django.template import Context, Template
from hypothesis import given, settings
from hypothesis import strategies as st

from labelapp.prompts.rendering import LANGUAGES, MARKDOWN_LIMIT, render_markdown
from tests.effort import effort

VOID = {"br", "hr"}
HARMLESS_TAGS = {
    "p", "h4", "h5", "h6", "ul", "ol", "li", "blockquote", "table", "thead", "tbody", "tr", "th", "td", "a", "br",
    "code", "div", "em", "hr", "pre", "s", "span", "strong", "math", "menclose", "mfrac", "mi", "mn", "mo", "mover",
    "mpadded", "mroot", "mrow", "mspace", "msqrt", "mstyle", "msub", "msubsup", "msup", "mtable", "mtd", "mtext",
    "mtr", "munder", "munderover",
}  # fmt: skip
HARMLESS_ATTRIBUTES = {
    "dir", "href", "title", "target", "rel", "start", "class", "tabindex", "role", "aria-label", "data-align",
    "data-language", "data-why", "accent", "columnalign", "columnlines", "columnspacing", "depth", "display",
    "displaystyle", "fence", "form", "height", "largeop", "linethickness", "lspace", "mathvariant", "maxsize",
    "minsize", "movablelimits", "notation", "rowlines", "rowspacing", "rspace", "scriptlevel", "stretchy", "voffset",
    "width",
}  # fmt: skip


class Page(HTMLParser):
    """Reads rendered HTML strictly: every element is known, closed in order, and without a way to act."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.text = ""
        self.tags: list[str] = []
        self.links: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in HARMLESS_TAGS, tag
        assert {name for name, _ in attrs} <= HARMLESS_ATTRIBUTES, attrs
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name == "href"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_comment(self, data: str) -> None:
        raise AssertionError(f"a comment came through: {data}")


def read(text: str) -> Page:
    return Page(render_markdown(text))


# --- What it shows ---------------------------------------------------------------------------------------------------


def test_it_keeps_single_line_breaks() -> None:
    assert "one<br>\ntwo" in render_markdown("one\ntwo")


def test_it_renders_tables_with_their_alignment() -> None:
    html = render_markdown("| a | b |\n|--:|:-:|\n| 1 | 2 |")
    assert '<td dir="auto" data-align="right">1</td>' in html
    assert '<td dir="auto" data-align="center">2</td>' in html
    assert "style" not in html


def test_it_lets_the_keyboard_scroll_a_wide_table() -> None:
    assert '<div class="scroll" tabindex="0" role="group" aria-label="Table"><table' in render_markdown("a|b\n-|-\n1|2")


def test_it_demotes_headings_below_those_of_the_page() -> None:
    assert read("# one\n## two\n### three\n#### four\n###### six").tags[1:] == ["h4", "h5", "h6", "h6", "h6"]


def test_it_highlights_code_with_classes_only() -> None:
    html = render_markdown("```python\ndef f(): pass\n```")
    assert '<pre dir="ltr" data-language="python">' in html
    assert '<span class="k">def</span>' in html


def test_it_shows_code_of_unknown_languages_as_it_is() -> None:
    html = render_markdown("```brainfudge\n<b> & +\n```")
    assert '<pre dir="auto" data-language="brainfudge"><code>&lt;b&gt; &amp; +\n</code></pre>' in html


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_it_knows_a_lexer_for_each_language(language: str) -> None:
    page = read(f"```{language}\nx = 1\n```")
    assert page.text.strip() == "x = 1"


@pytest.mark.parametrize("source", ["$x^2$", r"\(x^2\)", "$$x^2$$", r"\[x^2\]", "$$\nx^2\n$$", "\\[\nx^2\n\\]"])
def test_it_typesets_formulas_in_every_usual_bracket(source: str) -> None:
    assert "<msup><mi>x</mi><mn>2</mn></msup>" in render_markdown(source)
    assert "<msup>" in render_markdown(f"as in {source}, say")


def test_it_reads_a_displayed_formula_over_several_lines() -> None:
    html = render_markdown("So:\n\\[\na\n- b\n\\]\nDone.")
    assert '<math display="block"><mrow><mi>a</mi><mo>−</mo><mi>b</mi></mrow></math>' in html
    assert "<li" not in html


def test_it_shows_a_formula_that_cannot_be_typeset_as_its_source() -> None:
    assert r'<code class="formula">$\frac{1}{$</code>' in render_markdown(r"see $\frac{1}{$ there")


@pytest.mark.parametrize("text", ["40*2*3=240", "2**3**2", "5*x*2", "$<<5*2=10>>10, $<<3*2=6>>6"])
def test_a_product_keeps_its_stars(text: str) -> None:
    assert read(text).text.strip() == text


def test_emphasis_within_words_is_kept() -> None:
    assert "<strong>W</strong>orld" in render_markdown("**W**orld")
    assert "我<em>很</em>好" in render_markdown("我*很*好")


def test_a_row_with_more_cells_than_the_head_keeps_them() -> None:
    html = render_markdown("| a | b |\n|---|--:|\n| 1 | 2 | **3** | 4 |\n| 5 | 6 |\n- item")
    assert '<td dir="auto" data-align="right">2 | <strong>3</strong> | 4</td>' in html
    assert '<td dir="auto" data-align="right">6</td>' in html


def test_mixed_directions_scripts_and_emoji_come_through_as_they_are() -> None:
    text = "العربية with English 和中文混排 👩🏽‍🚀🇩🇪 שלום 123"
    assert f'<p dir="auto">{text}</p>' in render_markdown(text)


def test_prices_are_no_formulas() -> None:
    assert "<math" not in render_markdown("It costs $5, then $10 and later $20.")


@pytest.mark.parametrize("text", ["שלום עולם", "مرحبا بالعالم"])
def test_each_block_finds_its_own_direction(text: str) -> None:
    assert f'<p dir="auto">{text}</p>' in render_markdown(f"{text}\n\nEnglish")


@pytest.mark.parametrize(("mark", "tag"), [("1.", "ol"), ("-", "ul"), (">", "blockquote")])
def test_a_list_takes_the_direction_of_its_text(mark: str, tag: str) -> None:
    """Else its numbers stand on the side where there is no room for them."""
    assert f'<{tag} dir="rtl">' in render_markdown(f"English\n\n{mark} **مرحبا**\n\n{mark} two")
    assert f'<{tag} dir="ltr">' in render_markdown(f"مرحبا\n\n{mark} 1: two")


def test_emoji_and_persian_keep_their_joiners() -> None:
    for text in ("👩‍🚀", "می‌خواهم", "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f"):
        assert text in render_markdown(text)


def test_a_leading_number_keeps_its_list_start() -> None:
    assert '<ol start="3" dir="ltr">' in render_markdown("3. three\n4. four")


def test_reference_definitions_stay_in_sight() -> None:
    assert "secret" in read('[x]: https://example.org "secret"').text


def test_the_filter_renders_in_a_template() -> None:
    template = Template("{% load text %}{{ text|markdown }}")
    html = template.render(Context({"text": "**a** <i>"}))
    assert "<strong>a</strong> &lt;i&gt;" in html


# --- What it refuses -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg/onload=alert(1)>",
        "<!-- <script> -->",
        "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
        r"$\text{<script>alert(1)</script>}$",
        r"$\text{</math><img src=x onerror=alert(1)>}$",
        r"$$\href{javascript:alert(1)}{x} \style{position:fixed}{y} \class{btn}{z}$$",
        "```<script>\n<script>\n```",
        '```"onmouseover="alert(1)\nx\n```',
        "$x$<b>$y$",
    ],
)
def test_markup_of_the_text_is_shown_and_not_obeyed(text: str) -> None:
    assert "alert(1)" in read(text + " alert(1)").text


@pytest.mark.parametrize(
    "url",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java&#x73;cript:alert(1)",
        "java&Tab;script:alert(1)",
        "&#x01;javascript:alert(1)",
        "<java\tscript:alert(1)>",
        "\u00a0javascript:alert(1)",
        "data:text/html,x",
        "data:image/png;base64,AAAA",
        "vbscript:x",
        "file:///etc/passwd",
        "//evil.example",
        "/accounts/logout/",
        "#main",
        "https:/\\evil",
    ],
)
def test_only_absolute_web_and_mail_links_work(url: str) -> None:
    assert read(f"[x]({url}) ![y]({url}) <{url}>").links == []


def test_links_open_apart_and_tell_nobody_where_from() -> None:
    html = render_markdown("[x](https://example.org/a) <mailto:a@example.org>")
    assert read("[x](https://example.org/a) <mailto:a@example.org>").links == [
        "https://example.org/a",
        "mailto:a@example.org",
    ]
    assert html.count('target="_blank" rel="nofollow noopener noreferrer"') == 2


def test_no_image_is_fetched() -> None:
    page = read("![a cat](https://example.org/spy.png)")
    assert "img" not in page.tags
    assert page.text.strip() == "Image: a cat https://example.org/spy.png"
    assert page.links == ["https://example.org/spy.png"]


def test_an_image_inside_a_link_makes_no_second_link() -> None:
    page = read("[![a cat](https://example.org/spy.png)](https://example.org)")
    assert page.links == ["https://example.org"]
    assert page.text.strip() == "Image: a cat"


@pytest.mark.parametrize("code", ["\u202e", "\u2066", "\u200b", "\ufeff", "\x07", "\x1b", "\U000e0041"])
def test_hidden_characters_are_made_visible(code: str) -> None:
    mark = f"⟦U+{ord(code):04X}⟧"
    assert f"pay{mark}pal" in render_markdown(f"pay{code}pal")


def test_hidden_characters_cannot_come_in_as_entities_or_formulas() -> None:
    assert "⟦U+202E⟧" in render_markdown("&#x202E;abc")
    assert "\u202e" not in render_markdown(r"$\unicode{x202E} a$")


def test_a_run_of_hidden_characters_is_one_mark() -> None:
    assert "a⟦U+200B and 9999 more⟧b" in render_markdown("a" + "\u200b" * 10_000 + "b")


def test_stacked_accents_do_not_climb_over_the_page() -> None:
    assert "⟦U+0301 and 95 more⟧" in render_markdown("a" + "\u0301" * 100)


def test_formulas_cannot_hide_text_or_leave_their_place() -> None:
    assert "secret" in read(r"$\phantom{secret}$").text
    assert "secret" in read("$a % secret\n$").text
    assert "999" not in render_markdown(r"$a\hspace{-999em}b$").replace("hspace{-999em}", "")


def test_formulas_cannot_define_commands() -> None:
    doubled = "".join(rf"\newcommand{{\{b}}}{{\{a}\{a}}}" for a, b in pairwise("abcdefghijklmnopqrstuvw"))
    assert "<math" not in render_markdown(rf"$\newcommand{{\a}}{{xx}}{doubled} \w$")


# --- What it costs ---------------------------------------------------------------------------------------------------

HEAVY = {
    "quotes": ">" * 10_000,
    "lists": "- " * 10_000 + "x",
    "brackets": "[" * MARKDOWN_LIMIT,
    "images": "![" * 1_000 + "](http://x)" * 1_000,
    "emphasis": "**a *b " * 5_000,
    "backticks": "".join("`" * n + "a" for n in range(1, 280)),
    "dollars": "$a " * 13_000,
    "braces": "$" + "{" * 1_900 + "$",
    "fences": "```python\nx\n```\n" * 2_500,
    "blank code": "```c\na" + "\n" * 9_000 + "\n```",
    "wide table": "|a" * 250 + "|\n" + "|-" * 250 + "|\n" + "|b|\n" * 250,
    "200 KB": "All work and no *play*. " * 8_500,
    "one long word": "a" * 200_000,
    "one long word of 39 KB": "a" * 39_000,
    "open images": "a![" * 13_000,
    "images that end late": "a![" * 13_000 + "](http://x)",
    "empty quotes": ">\n\n" * 13_000 + "a",
    "quotes that end late": ">===\na|b\n" * 4_000,
    "open formulas": "\\[\na" * 10_000,
    "blocks": "a\n\n" * 13_000,
    "items": "- a\n" * 10_000,
    "items within items": "".join(" " * (2 * (n % 50)) + "- a\n" for n in range(600)),
    "rules": "-|-\na\n" * 6_000,
    "autolinks": "<http://a>[" * 3_600,
    "stars": "*a*" * 13_000,
    "strikes": "\\)~~a" * 8_000,
    "fractions": "$" + r"\frac{a}{" * 60 + "x" + "}" * 60 + "$ " * 30,
    "scripts": "$" + "a^{" * 600 + "}" * 600 + "$",
    "matrices": ("$" + r"\begin{matrix}" * 60 + "a" + r"\end{matrix}" * 60 + "$ ") * 20,
    "left and right": ("$" + r"\left(" * 150 + "x" + r"\right)" * 150 + "$ ") * 15,
    "big formulas": ("$" + "a+" * 990 + "x$\n\n") * 20,
    "many formulas": "$a_x^2$ " * 5_000,
    "html code": "```html\n" + "<a " * 3_000 + "\n```",
    "yaml code": "```yaml\n" + "- " * 4_000 + "x\n```",
    "marks of direction": "\u202ea\u2066x" * 10_000,
    "zero width": "a\u200b" * 20_000,
    "accents": "a" + "\u0301" * 39_000,
    "entities": "&#x202E;a" * 4_000,
    "backslashes": "\\" * 39_000 + "a",
    "quoted list": "> - " * 9_000 + "a",
    "2 MB": "x\n" * 1_000_000,
}


SPELT = {"fractions", "scripts", "matrices", "left and right", "big formulas", "many formulas", "yaml code", "entities"}
"""Their sources have letters that are not shown: commands, a language, hexadecimal digits."""


CALLS = 300
"""For each letter, at most; what grows with the square of a text of 40 thousand letters makes many times as many."""


@pytest.mark.parametrize("name", HEAVY)
def test_a_heavy_text_is_shown_whole_with_bounded_effort(name: str) -> None:
    render_markdown(HEAVY[name][:100])  # the first run may load a lexer
    html, calls = effort(lambda: render_markdown(HEAVY[name]))
    assert calls < CALLS * len(HEAVY[name])
    page = Page(html)
    for letter in "ax" if name not in SPELT else "":
        assert page.text.count(letter) >= HEAVY[name].count(letter)


@pytest.mark.parametrize(
    ("text", "why"), [("x" * (MARKDOWN_LIMIT + 1), "long"), (HEAVY["quotes"], "deep"), (HEAVY["wide table"], "long")]
)
def test_a_text_shown_plainly_says_why(text: str, why: str) -> None:
    assert render_markdown(text).startswith(f'<div class="prose plain" dir="auto" data-why="{why}">')


def test_ordinary_nesting_is_formatted() -> None:
    text = "\n".join("  " * depth + "- item" for depth in range(12))
    assert read(text).tags.count("ul") == 12


# --- Whatever it is --------------------------------------------------------------------------------------------------

PIECES = [
    "<script>", "</script>", "<img onerror=x ", "javascript:", "](", "[", "![", "`", "```", "$", "$$", r"\(", r"\)",
    r"\[", r"\]", r"\text{", r"\frac", r"\begin{matrix}", "}", "{", "&#x6a;", "&lt;", "|", "-|-", "\n", "\n\n",
    "    ", "> ", "- ", "1. ", "# ", "**", "~~", "_", '"', "'", ">", "<", "=", "https://a.b", "<!--", "]]>", "\u202e",
    "\0", "שלום",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=8), max_size=40).map("".join))
def test_any_text_comes_out_harmless_and_well_formed(text: str) -> None:
    assert all(urlsplit(link).scheme in {"http", "https", "mailto"} for link in read(text).links)


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(categories=["L", "N"]), min_size=1, max_size=60))
def test_letters_are_never_lost(text: str) -> None:
    assert text in read(text).text.replace("\n", "")
