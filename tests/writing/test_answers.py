"""What is read from the writing page, and how it is counted."""

import pytest

from labelapp.writing.answers import TEXT_LIMIT, Pasted, answer_read, few_shot_text, length_range, words_count


def test_an_answer_is_read_without_the_space_around_it() -> None:
    reading = answer_read({"answer": "\r\nCut in winter.\r\nAbove a bud.\x00 "})
    assert reading.answer.text == "Cut in winter.\nAbove a bud."
    assert (reading.answer.pasted, reading.problems, reading.asks_source) == (Pasted(), {}, False)


@pytest.mark.parametrize(("text", "problem"), [(" \n", "Write an answer"), ("x" * (TEXT_LIMIT + 1), "shorten it")])
def test_what_cannot_be_taken_is_said(text: str, problem: str) -> None:
    assert problem in answer_read({"answer": text}).problems["answer"]


@pytest.mark.parametrize(
    ("stretches", "share"),
    [
        ("", 0.0),
        ("0-5", 0.5),
        ("0-5 5-8", 0.8),
        ("2-6 4-8", 0.6),
        ("5-900", 0.5),
        ("7-3 nonsense <b>", 0.0),
        ("0-10 0-10", 1.0),
    ],
)
def test_the_pasted_share_is_what_the_stretches_cover(stretches: str, share: float) -> None:
    assert answer_read({"answer": "0123456789", "pasted": stretches}).answer.pasted.share == share


def test_stretches_count_as_browsers_count() -> None:
    """A character beyond the first 65,536 is two for them."""
    assert answer_read({"answer": "🍐🍐", "pasted": "0-2"}).answer.pasted.share == 0.5


LONG = "x" * 300


@pytest.mark.parametrize(
    ("fields", "asks"),
    [
        ({"answer": LONG, "pasted": "0-300"}, True),
        ({"answer": LONG, "pasted": "0-200"}, False),
        ({"answer": LONG * 10, "pasted": "0-299"}, False),
        ({"answer": LONG * 2, "pasted": "0-201"}, True),
        ({"answer": LONG}, False),
        ({"answer": LONG, "pasted": "0-300", "pasted_source": "My own notes"}, False),
        ({"answer": LONG, "pasted": "0-300", "pasted_asked": "1"}, False),
    ],
)
def test_the_source_is_asked_for_once_and_only_for_much(fields: dict[str, str], asks: bool) -> None:
    assert answer_read(fields).asks_source is asks


def test_a_source_is_one_short_line() -> None:
    assert (
        answer_read({"answer": "a", "pasted_source": " A book\n of  pears "}).answer.pasted.source == "A book of pears"
    )
    assert len(answer_read({"answer": "a", "pasted_source": "b" * 900}).answer.pasted.source) == 500


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        ("Cut it, in winter.", 4),
        ("修剪梨树", 4),
        ("用 Python 修剪", 4),
        ("قلّم الشجرة شتاءً", 3),
        ("배나무 가지치기", 2),
    ],
)
def test_words_are_counted_in_any_script(text: str, words: int) -> None:
    assert words_count(text) == words


def test_most_answers_are_those_between_the_tenths() -> None:
    assert length_range(range(9)) is None
    assert length_range([3, 52, 71, 80, 99, 120, 131, 150, 198, 4000]) == (50, 200)
    assert length_range([20] * 30) is None


def test_a_few_shot_prompt_ends_with_the_query_that_is_left() -> None:
    pairs = [("Snow", "Winter"), ("Harvest", "Autumn")]
    assert few_shot_text(instruction="Name the season.", pairs=pairs, query="Buds").split("\n\n") == [
        "Name the season.",
        "Query: Snow\nResponse: Winter",
        "Query: Harvest\nResponse: Autumn",
        "Query: Buds\nResponse:",
    ]
