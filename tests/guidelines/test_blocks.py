"""Guidelines taken apart into blocks and sections, and compared with the version before."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelapp.guidelines.blocks import MOST_COMPARED, Change, Piece, blocks_of, compare, sections_of
from labelapp.projects.defaults import GUIDELINES
from tests.effort import effort

OLD = """Be kind.

## Rating

- Read all.
- Rate each.

## Ranking

Best first.
"""


def changes(old: str | None, new: str) -> list[tuple[str, str]]:
    """What changed, with the text it happened to."""
    return [(str(piece.change), piece.block.text) for piece in compare(old, new) if piece.change]


def test_a_text_falls_into_its_paragraphs_lists_and_headings() -> None:
    assert [block.text for block in blocks_of(OLD)] == (
        ["Be kind.", "## Rating", "- Read all.\n- Rate each.", "## Ranking", "Best first."]
    )
    assert [(block.level, block.title) for block in blocks_of(OLD) if block.level] == [(2, "Rating"), (2, "Ranking")]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("```\na\n\n# b\n```", 1),
        ("$$\na\n- b\n$$", 1),
        ("> a\n> b\n\nc", 2),
        ("| a |\n|---|\n| b |", 1),
        ("Title\n=====\ntext", 2),
        ("[a]: http://example.com", 1),
        ("", 0),
        ("\n \n", 0),
    ],
)
def test_code_quotes_tables_and_formulas_stay_whole(text: str, count: int) -> None:
    assert len(blocks_of(text)) == count


@given(st.text(alphabet="ab#-*> \n`|1.[]():$\\=", max_size=80))
def test_nothing_of_a_text_is_lost(text: str) -> None:
    kept = "".join(block.text for block in blocks_of(text))
    assert sorted(kept.replace("\n", "").replace(" ", "")) == sorted(text.replace("\n", "").replace(" ", ""))


def test_without_a_version_before_nothing_is_new() -> None:
    assert changes(None, OLD) == []
    assert changes(OLD, OLD) == []


def test_a_new_paragraph_is_new() -> None:
    assert changes(OLD, OLD.replace("Best first.", "Best first.\n\nTies are fine.")) == [("new", "Ties are fine.")]


def test_a_paragraph_in_other_words_is_changed_and_shows_the_old_words() -> None:
    pieces = compare(OLD, OLD.replace("Be kind.", "Be kind and exact."))
    assert [(piece.change, piece.block.text, piece.before) for piece in pieces if piece.change] == [
        (Change.CHANGED, "Be kind and exact.", "Be kind.")
    ]


def test_a_removed_paragraph_is_shown_where_it_was() -> None:
    pieces = compare(OLD, OLD.replace("Be kind.\n\n", ""))
    assert (pieces[0].change, pieces[0].block.text) == (Change.REMOVED, "Be kind.")


def test_of_a_list_only_the_items_that_changed_are_marked() -> None:
    assert changes(OLD, OLD.replace("- Rate each.", "- Rate each one.\n- Then rank.")) == [
        ("changed", "- Rate each one."),
        ("new", "- Then rank."),
    ]


@pytest.mark.parametrize("blocks", [MOST_COMPARED, MOST_COMPARED + 1, 16_000])
def test_the_effort_for_very_many_blocks_is_bounded_even_if_they_stay_unmarked(blocks: int) -> None:
    found, calls = effort(lambda: changes("\n\n".join("a" * (blocks - 1)), "\n\n".join("a" * blocks)))
    assert found == ([("new", "a")] if blocks <= MOST_COMPARED else [])
    assert calls < 2_000 * blocks


def test_numbered_items_keep_their_numbers() -> None:
    assert changes("1. a\n2. b", "1. a\n2. c") == [("changed", "2. c")]


def test_a_heading_is_never_taken_for_a_changed_paragraph() -> None:
    assert changes("a", "# A") == [("removed", "a"), ("new", "# A")]


def test_sections_follow_the_headings() -> None:
    sections = sections_of(compare(None, OLD))
    assert [(section.anchor, section.title) for section in sections] == (
        [("start", ""), ("rating-1", "Rating"), ("ranking-1", "Ranking")]
    )
    assert [piece.block.text for piece in sections[1].pieces] == ["- Read all.\n- Rate each."]


def test_anchors_are_never_the_same() -> None:
    sections = sections_of(compare(None, "# Start\n\n# Start\n\n# 评分\n\n# !!!\n\n# `a` *b*"))
    assert [section.anchor for section in sections] == ["start-1", "start-2", "评分-1", "part-1", "a-b-1"]
    assert sections[-1].title == "a b"


def test_unchanged_neighbours_are_one_text_and_changed_ones_are_not() -> None:
    (section,) = sections_of(compare("a\n\nb\n\nc", "a\n\nb\n\nd"))
    assert [piece.block.text for piece in section.pieces] == ["a\n\nb", "d"]
    (section,) = sections_of(compare("a", "b\n\nc"))
    assert [piece.change for piece in section.pieces] == [Change.CHANGED, Change.NEW]


def test_a_removed_heading_begins_no_section() -> None:
    sections = sections_of(compare("# Old\n\nText.", "Text."))
    assert [section.title for section in sections] == [""]
    assert sections[0].pieces[0] == Piece(blocks_of("# Old")[0], Change.REMOVED)


def test_small_headings_are_part_of_the_text() -> None:
    assert [section.title for section in sections_of(compare(None, "# A\n\n#### B"))] == ["A"]


def test_the_default_guidelines_have_sections_to_jump_to() -> None:
    titles = [section.title for section in sections_of(compare(None, GUIDELINES))]
    assert titles[0] == "What you do"
    assert len(titles) >= 5
    assert all(titles)
