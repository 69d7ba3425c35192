"""Marking what was looked for in finished HTML."""

import re

import pytest
from django.utils.safestring import SafeString, mark_safe
from hypothesis import given
from hypothesis import strategies as st

from labelapp.guidelines.hits import hits_mark
from labelapp.prompts.rendering import render_markdown


def marked(body: str, query: str) -> tuple[str, int]:
    return hits_mark(mark_safe(body), query)


@pytest.mark.parametrize(
    ("body", "query", "result", "count"),
    [
        ("<p>A tie is a Tie.</p>", "tie", "<p>A <mark>tie</mark> is a <mark>Tie</mark>.</p>", 2),
        ("<p>about\nequal</p>", "about  equal", "<p><mark>about\nequal</mark></p>", 1),
        ('<a href="/tie">x</a>', "tie", '<a href="/tie">x</a>', 0),
        ("<p>R&amp;D &lt;b&gt;</p>", "r&d", "<p><mark>R&amp;D</mark> &lt;b&gt;</p>", 1),
        ("<p>R&amp;D</p>", "amp", "<p>R&amp;D</p>", 0),
        ("<p>&lt;b&gt;</p>", "<b>", "<p><mark>&lt;b&gt;</mark></p>", 1),
        ("<p>f(x)</p>", "f(x)", "<p><mark>f(x)</mark></p>", 1),
        ('<p>say "no"</p>', '"no"', '<p>say <mark>"no"</mark></p>', 1),
        ("<p>tie</p>", "t", "<p>tie</p>", 0),
        ("<p>tie</p>", "  ", "<p>tie</p>", 0),
        ("<math><mi>tie</mi></math> tie", "tie", "<math><mi>tie</mi></math> <mark>tie</mark>", 1),
        ("<p>两个答案</p>", "答案", "<p>两个<mark>答案</mark></p>", 1),
        ("a<br>b", "ab", "a<br>b", 0),
    ],
)
def test_hits_are_marked_in_text_alone(body: str, query: str, result: str, count: int) -> None:
    assert marked(body, query) == (result, count)


def test_what_is_marked_stays_safe() -> None:
    body, count = hits_mark(render_markdown("<script>alert(1)</script> and `<script>`"), "<script>")
    assert isinstance(body, SafeString)
    assert count == 2
    assert "<script" not in body


@given(st.text(max_size=60), st.text(min_size=2, max_size=4))
def test_without_its_marks_the_text_is_as_it_was(text: str, query: str) -> None:
    body = render_markdown(text)
    found, count = hits_mark(body, query)
    assert re.sub("</?mark>", "", found) == re.sub("</?mark>", "", body)
    assert found.count("<mark>") == count
