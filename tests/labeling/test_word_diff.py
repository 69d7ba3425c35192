"""The difference of two texts by words: exact, readable, and soon there however long the texts are."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelapp.labeling.word_diff import Kind, word_diff
from tests.effort import effort

SAME, REMOVED, ADDED = Kind.SAME, Kind.REMOVED, Kind.ADDED
PIECES = ["pear", "tree", " ", "\n", "the ", "a", ".", "我", "们", "é", "⟦U+202E⟧", "<b>", "don't", "🍐"]
TEXT = st.lists(st.sampled_from(PIECES) | st.text(max_size=4), max_size=30).map("".join)


def test_it_names_the_words_that_differ() -> None:
    assert word_diff("The cat sat on the mat.", "The dog sat on a mat.").pieces == [
        (SAME, "The "), (REMOVED, "cat"), (ADDED, "dog"), (SAME, " sat on "), (REMOVED, "the"), (ADDED, "a"),
        (SAME, " mat."),
    ]  # fmt: skip


def test_chinese_is_compared_by_characters() -> None:
    assert word_diff("我喜欢苹果。", "我不喜欢苹果。").pieces == [(SAME, "我"), (ADDED, "不"), (SAME, "喜欢苹果。")]


def test_a_word_with_an_apostrophe_or_a_revealed_character_is_one_word() -> None:
    assert word_diff("don't", "can't").pieces == [(REMOVED, "don't"), (ADDED, "can't")]
    assert word_diff("pay⟦U+202E⟧pal", "pay⟦U+202D⟧pal").pieces[1:3] == [(REMOVED, "⟦U+202E⟧"), (ADDED, "⟦U+202D⟧")]


def test_it_counts_words_and_not_spaces() -> None:
    diff = word_diff("one two three", "one, two! four five")
    assert (diff.removed, diff.added) == (1, 2)


def test_a_lone_word_between_long_changes_is_not_torn_out() -> None:
    diff = word_diff("Prune the pear in winter", "Water each fig in summertime")
    assert diff.pieces == [(REMOVED, "Prune the pear in winter"), (ADDED, "Water each fig in summertime")]


@pytest.mark.parametrize(
    ("first", "second", "kinds"),
    [("", "", []), ("a", "a", [SAME]), ("", "a", [ADDED]), ("a", "", [REMOVED]), ("a", "b", [REMOVED, ADDED])],
)
def test_the_smallest_texts(first: str, second: str, kinds: list[Kind]) -> None:
    assert [kind for kind, _ in word_diff(first, second).pieces] == kinds


@settings(max_examples=300, deadline=None)
@given(TEXT, TEXT)
def test_the_pieces_make_both_texts_again(first: str, second: str) -> None:
    pieces = word_diff(first, second).pieces
    assert "".join(text for kind, text in pieces if kind != ADDED) == first
    assert "".join(text for kind, text in pieces if kind != REMOVED) == second
    assert all(text for _, text in pieces)


@settings(max_examples=100, deadline=None)
@given(TEXT)
def test_equal_texts_do_not_differ(text: str) -> None:
    assert {kind for kind, _ in word_diff(text, text).pieces} <= {SAME}


def test_it_finds_as_much_in_common_as_there_is() -> None:
    """Two hundred characters in their order, between them at times one that only this text has."""
    chance = random.Random(1)
    first, second = (
        "".join(chr(0x4E00 + n) + (chr(own + n) if chance.random() < 0.5 else "") for n in range(200))
        for own in (0x6000, 0x7000)
    )
    same = "".join(text for kind, text in word_diff(first, second).pieces if kind == SAME)
    assert same == "".join(chr(0x4E00 + n) for n in range(200))


def _words(seed: int, count: int) -> str:
    return " ".join(random.Random(seed).choices([f"word{number}" for number in range(3_000)], k=count))


@pytest.mark.parametrize(
    ("first", "second", "by_lines"),
    [
        (_words(1, 7_000), _words(2, 7_000), False),
        (_words(1, 40_000), _words(2, 40_000), True),
        ("a " * 100_000, "b " * 100_000, True),
        ("a " * 8_000, "a b " * 4_000, False),
        ("a\n" * 100_000, "b\n" * 100_000, True),
        ("ab\n" * 15_000, "b\na" * 15_000, True),
        ("x" * 200_000, "y" * 200_000, False),
    ],
    ids=["words", "many words", "two words", "shifted", "lines", "shifted lines", "one word"],
)
def test_long_texts_are_compared_with_bounded_effort(first: str, second: str, by_lines: bool) -> None:
    diff, calls = effort(lambda: word_diff(first, second))
    assert calls < 2_000_000  # comparing each of 15 thousand lines with each takes 225 million
    assert diff.by_lines is by_lines
    assert "".join(text for kind, text in diff.pieces if kind != ADDED) == first
