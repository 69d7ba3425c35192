"""What people read about the format is true."""

import html
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from labelapp.datasets import fields, judgements, lines
from labelapp.datasets.rows import COMPLETION_FIELDS, DEMONSTRATION_FIELDS, MESSAGE_FIELDS, ROW_FIELDS, row_parse

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = (ROOT / "docs" / "import.md").read_text()
PAGE = (ROOT / "templates" / "datasets" / "import_upload.html").read_text()


def examples(text: str) -> Iterator[bytes]:
    """Objects that start a line with a prompt, as one line each."""
    decoder = json.JSONDecoder()
    for found in re.finditer(r'^(?: *<pre[^>]*>)?(\{"(?:id|prompt)")', text, re.MULTILINE):
        yield json.dumps(decoder.raw_decode(text, found.start(1))[0]).encode()


@pytest.mark.parametrize(("text", "count"), [(REFERENCE, 2), (html.unescape(PAGE), 1)])
def test_examples_can_be_imported(text: str, count: int) -> None:
    found = list(examples(text))
    assert len(found) == count
    for line in found:
        assert row_parse(line).prompt.messages


def test_the_long_example_uses_every_field() -> None:
    row = json.loads(list(examples(REFERENCE))[1])
    assert row.keys() == set(ROW_FIELDS) - {"prompt"}
    assert row["messages"][0].keys() == set(MESSAGE_FIELDS)
    assert row["completions"][0].keys() == set(COMPLETION_FIELDS)
    assert row["rankings"][0].keys() == set(judgements.RANKING_FIELDS)
    assert row["preferences"][0].keys() == set(judgements.PREFERENCE_FIELDS)
    assert row["ratings"][0].keys() == set(judgements.RATING_FIELDS)
    assert row["demonstrations"][0].keys() == set(DEMONSTRATION_FIELDS)


def test_the_limits_are_those_of_the_code() -> None:
    said = " ".join(REFERENCE.split())
    assert (
        f"a row {lines.LINE_LIMIT // 1024**2} MB, a text {fields.TEXT_LIMIT:,} characters, "
        f"a rationale {judgements.RATIONALE_LIMIT:,}, names and ids {fields.NAME_LIMIT}, "
        f"tags and categories {fields.WORD_LIMIT} characters each and {fields.WORDS_LIMIT} per row. "
        f"A row with labels has at most {judgements.LABELLED_TEXTS} different completions."
    ) in said
