"""The Chinese catalog: whole, compiled, and without a slip that would break a page."""

import gettext
import re
from pathlib import Path

import pytest

from tests.language.catalog import FOLDER, ROOT, Entry, entries, said_by_python, said_by_template

HEADER, *ENTRIES = entries(FOLDER / "django.po")
PLACEHOLDER = re.compile(r"%\(\w+\)[sd]|%[sd]|\{\w*\}")
BREAKING = re.compile(r'[<>"&]|\n')
MEND = "Run `make messages`, translate what is empty in labelapp/locale, run it again, and commit the .po and the .mo."


def test_the_catalog_was_compiled_after_it_was_changed() -> None:
    with (FOLDER / "django.mo").open("rb") as file:
        compiled = dict(gettext.GNUTranslations(file)._catalog)  # type: ignore[attr-defined]
    compiled.pop("")
    written = {
        ((entry.key, number) if entry.plural else entry.key): text
        for entry in ENTRIES
        for number, text in enumerate(entry.translations)
    }
    assert compiled == written, MEND


def test_every_message_is_translated() -> None:
    assert [entry.singular for entry in ENTRIES if not all(entry.translations) or "fuzzy" in entry.flags] == [], MEND


def test_the_catalog_knows_how_chinese_counts() -> None:
    assert "Plural-Forms: nplurals=1; plural=0;" in HEADER.translations[0]
    assert all(len(entry.translations) == 1 for entry in ENTRIES)


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.singular[:40])
def test_a_translation_keeps_the_placeholders(entry: Entry) -> None:
    wanted = set(PLACEHOLDER.findall(entry.plural or entry.singular))
    assert set(PLACEHOLDER.findall(entry.translations[0])) == wanted


def test_no_translation_breaks_an_attribute_or_brings_markup() -> None:
    """Templates write messages as they are, also between quotation marks."""
    for entry in ENTRIES:
        foreign = set(BREAKING.findall(entry.translations[0])) - set(BREAKING.findall(entry.singular))
        assert not foreign, entry.singular


def test_everything_that_is_said_stands_in_the_catalog() -> None:
    known = {entry.key for entry in ENTRIES}
    missing = set()
    for folder, pattern in (("templates", "*.html"), ("labelapp", "*.py")):
        for path in sorted((ROOT / folder).rglob(pattern)):
            missing |= {(str(path.relative_to(ROOT)), text) for text in _said(path) if text and text not in known}
    assert missing == set(), MEND


def _said(path: Path) -> set[str]:
    return set(said_by_template(path) if path.suffix == ".html" else said_by_python(path))
