"""Texts as people and models really write them: every one is formatted, whole and well-formed."""

import logging
import re
from collections.abc import Iterator
from html import unescape

import pytest

from labelapp.prompts.hidden_characters import reveal_hidden
from labelapp.prompts.rendering import render_markdown
from tests.datasets.adapters import ALPACA, OASST, alpaca_row, oasst_row, read_gzipped
from tests.prompts.test_rendering import Page

WORD = re.compile(r"[^\W_]+")
NUMBERING = re.compile(r"^[ \t>*+-]*\d+[.)](?=\s|$)", re.MULTILINE)
ASIDE = re.compile(r' (?:href|data-language|title)="([^"]*)"')
SETS = {"alpaca_eval": (ALPACA, alpaca_row), "oasst": (OASST, oasst_row)}


def texts(name: str) -> Iterator[str]:
    """Every prompt and completion of a set."""
    path, adapted = SETS[name]
    for row in map(adapted, read_gzipped(path)):
        yield from (turn["content"] for turn in row.get("messages", [{"content": row.get("prompt", "")}]))
        yield from (completion["text"] for completion in row["completions"])


def lost(text: str, html: str) -> list[str]:
    """Lines of a text that its page does not have, whatever stands between their words."""
    shown = Page(html).text
    words = set(WORD.findall(shown + " ".join(unescape(value) for value in ASIDE.findall(html))))
    lines = NUMBERING.sub("", unescape(reveal_hidden(text))).splitlines()
    run = _run(shown)
    return [line for line in lines if _run(line) not in run and not words.issuperset(WORD.findall(line))]


def _run(text: str) -> str:
    return "".join(WORD.findall(text))


@pytest.mark.parametrize("name", SETS)
def test_real_texts_are_formatted_and_nothing_is_lost(name: str, caplog: pytest.LogCaptureFixture) -> None:
    if not SETS[name][0].exists():
        pytest.skip(f"there is no {SETS[name][0]}")
    faults = []
    for text in texts(name):
        html = render_markdown(text)
        if "data-why" in html:
            faults.append(("shown plainly", text))
        elif "<math" not in html and (missing := lost(text, html)):
            faults.append((str(missing), text))
    assert faults == []
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


def test_what_is_lost_would_be_found() -> None:
    assert lost("one two\nthree *four*", "<p>one two<br>three</p>") == ["three *four*"]
    assert lost("one two", "<p>two one</p>") == []
    assert lost("see [here](https://a.example)", render_markdown("see [here](https://a.example)")) == []
