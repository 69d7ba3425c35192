import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelapp.labeling.judgement import (
    RATIONALE_LIMIT,
    Judgement,
    Reading,
    judgement_read,
)
from labelapp.labeling.notation import ranking_parse
from labelapp.labeling.sheet import Sheet, Stage
from labelapp.models import Protocol, Question

QUESTIONS = [
    Question(key="harmful", text="Gives harmful advice", severity="severe"),
    Question(key="constraint", text="Meets the constraint", polarity="good", allows_na=True),
    Question(key="ambiguous", text="The prompt is ambiguous", scope="prompt", polarity="descriptive"),
]
ABOUT_RANKING = Question(key="close", text="It was close", scope="ranking", polarity="descriptive")
GOOD = {"ranking": "C A=B", "likert-A": "4", "likert-B": "4", "likert-C": "7"}


def sheet_of(
    order: list[int], questioned: set[int] | None = None, stage: Stage = Stage.WHOLE, **fields: object
) -> Sheet:
    return Sheet(
        protocol=Protocol(**fields),
        questions=QUESTIONS,
        order=order,
        questioned=frozenset(range(len(order)) if questioned is None else questioned),
        stage=stage,
    )


def with_ranking_question(sheet: Sheet) -> Sheet:
    return replace(sheet, questions=[*QUESTIONS, ABOUT_RANKING])


def judged(reading: Reading) -> Judgement:
    assert reading.problems == {}
    assert reading.judgement is not None
    return reading.judgement


@pytest.mark.parametrize("text", ["D C A=B", "d c a=b", "D > C > A = B", " D,C,B=A ", "D;C;A =B", "D C B= A"])
def test_a_ranking_may_be_typed_in_many_ways(text: str) -> None:
    tiers = ranking_parse(text, [0, 1, 2, 3])
    assert isinstance(tiers, list)
    assert tiers == [[3], [2], [0, 1]]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Rank the completions, best first"),
        ("A B", "Still to be placed: C"),
        ("A B C D", "D is not among the completions A to C"),
        ("A B B C", "B stands in the ranking more than once"),
        ("A= B C", None),
        ("A==B C", "letter on both sides"),
        ("AB C", None),
        ("b=ca", None),
        ("AA B C", "A stands in the ranking more than once"),
        ("A > 7 > B C", "7 is not among"),
    ],
)
def test_a_ranking_that_cannot_be_read_says_why(text: str, said: str | None) -> None:
    parsed = ranking_parse(text, [0, 1, 2])
    assert (said is None) == isinstance(parsed, list)
    assert said is None or said in str(parsed)


def test_letters_are_turned_into_slots_by_the_order_shown() -> None:
    """A is slot 2, B is slot 0, C is slot 1."""
    assert ranking_parse("C A B", [2, 0, 1]) == [[1], [2], [0]]


@given(st.permutations(range(5)), st.lists(st.integers(0, 4), min_size=5, max_size=5))
def test_every_ranking_can_be_typed(order: list[int], levels: list[int]) -> None:
    tiers = [[slot for slot in range(5) if levels[slot] == level] for level in sorted(set(levels))]
    typed = " ".join("=".join("ABCDE"[order.index(slot)] for slot in tier) for tier in tiers)
    assert ranking_parse(typed, order) == tiers


@given(st.text(max_size=40))
def test_any_text_is_either_a_full_ranking_or_a_sentence(text: str) -> None:
    parsed = ranking_parse(text, [0, 1, 2])
    assert isinstance(parsed, str) or sorted(slot for tier in parsed for slot in tier) == [0, 1, 2]


def test_a_full_form_becomes_a_judgement() -> None:
    fields = GOOD | {"answer-A-harmful": "yes", "answer-A-constraint": "na", "answer-ambiguous": "no"}
    judgement = judged(judgement_read(sheet_of([2, 0, 1]), fields))
    assert judgement.tiers == [[1], [0, 2]]
    assert {edge[:3] for edge in judgement.edges} == {(1, 0, ">"), (1, 2, ">"), (0, 2, "=")}
    assert judgement.ratings[2].likert == 4
    assert judgement.ratings[1].likert == 7
    assert judgement.ratings[2].answers == {"harmful": "yes", "constraint": "na"}
    assert judgement.answers == {"ambiguous": "no"}


def test_an_unanswered_question_is_kept_as_unanswered_not_as_no() -> None:
    judgement = judged(judgement_read(sheet_of([0, 1, 2]), GOOD))
    assert judgement.ratings[0].answers == {"harmful": None, "constraint": None}


def test_a_question_not_asked_leaves_no_trace() -> None:
    judgement = judged(judgement_read(sheet_of([0, 1, 2], questioned={1}), GOOD | {"answer-A-harmful": "yes"}))
    assert judgement.ratings[0].answers == {}
    assert set(judgement.ratings[1].answers) == {"harmful", "constraint"}


def test_an_untouched_form_is_no_answer() -> None:
    reading = judgement_read(sheet_of([0, 1, 2]), {})
    assert reading.judgement is None
    assert set(reading.problems) == {"ranking", "likert-A", "likert-B", "likert-C"}


@pytest.mark.parametrize("likert", ["0", "8", "x", "4.5", "-1", " 4", "٤"])
def test_a_rating_outside_the_scale_is_refused(likert: str) -> None:
    reading = judgement_read(sheet_of([0, 1, 2]), GOOD | {"likert-A": likert})
    assert reading.problems == {"likert-A": "Rate completion A from 1 to 7."}


@pytest.mark.parametrize("value", ["maybe", "na", "YES"])
def test_an_answer_outside_its_question_is_refused(value: str) -> None:
    reading = judgement_read(sheet_of([0, 1, 2]), GOOD | {"answer-B-harmful": value})
    assert list(reading.problems) == ["answer-B-harmful"]


def test_ties_are_refused_where_the_protocol_wants_a_strict_order() -> None:
    reading = judgement_read(sheet_of([0, 1, 2], ties_allowed=False), GOOD)
    assert "strict order" in reading.problems["ranking"]


@pytest.mark.parametrize(
    ("steps", "step", "tiers", "strength"),
    [
        (8, "1", [[1], [0]], 4),
        (8, "4", [[1], [0]], 1),
        (8, "5", [[0], [1]], 1),
        (8, "8", [[0], [1]], 4),
        (9, "1", [[1], [0]], 4),
        (9, "5", [[0, 1]], None),
        (9, "6", [[0], [1]], 1),
        (9, "9", [[0], [1]], 4),
    ],
)
def test_steps_between_two_give_order_and_strength(
    steps: int, step: str, tiers: list[list[int]], strength: int | None
) -> None:
    """Shown as A = slot 1 and B = slot 0."""
    sheet = sheet_of([1, 0], strength_steps=steps, likert_points=0)
    judgement = judged(judgement_read(sheet, {"preference": step}))
    assert judgement.tiers == tiers
    assert judgement.edges[0][3] == strength


@pytest.mark.parametrize("step", ["", "0", "9", "A"])
def test_a_step_outside_the_scale_is_refused(step: str) -> None:
    reading = judgement_read(sheet_of([0, 1], strength_steps=8, likert_points=0), {"preference": step})
    assert list(reading.problems) == ["preference"]


def test_two_completions_without_steps_are_ranked_by_typing() -> None:
    sheet = sheet_of([0, 1], strength_steps=0, likert_points=0)
    assert judged(judgement_read(sheet, {"ranking": "A=B"})).tiers == [[0, 1]]


def test_one_completion_is_only_rated() -> None:
    judgement = judged(judgement_read(sheet_of([0]), {"likert-A": "3"}))
    assert (judgement.tiers, judgement.edges, judgement.ratings[0].likert) == (None, [], 3)


@pytest.mark.parametrize(
    ("sheet", "fields"),
    [
        (sheet_of([0]), {"likert-A": "3"}),
        (sheet_of([0, 1, 2], asks_ranking=False), GOOD),
        (sheet_of([0, 1, 2], stage=Stage.RATE), GOOD),
    ],
    ids=["one completion", "no ranking asked", "ratings first"],
)
def test_questions_about_a_ranking_are_read_only_beside_one(sheet: Sheet, fields: dict[str, str]) -> None:
    """Neither stored as left open nor refused: what is not on the page was not asked."""
    judgement = judged(judgement_read(with_ranking_question(sheet), fields | {"answer-close": "junk"}))
    assert judgement.answers == {"ambiguous": None}


@pytest.mark.parametrize("fields", [{"preference": "1"}, {"ranking": "A B"}], ids=["preference", "ranking"])
def test_questions_about_a_ranking_are_read_beside_either_kind(fields: dict[str, str]) -> None:
    sheet = with_ranking_question(
        sheet_of([0, 1], likert_points=0, asks_ranking=True, strength_steps=8 if "preference" in fields else 0)
    )
    assert judged(judgement_read(sheet, fields)).answers["close"] is None
    assert judged(judgement_read(sheet, fields | {"answer-close": "yes"})).answers["close"] == "yes"


def test_the_rating_stage_asks_for_no_order() -> None:
    ratings = {name: value for name, value in GOOD.items() if name != "ranking"}
    judgement = judged(judgement_read(sheet_of([0, 1, 2], stage=Stage.RATE), ratings | {"answer-ambiguous": "yes"}))
    assert (judgement.tiers, judgement.first_tiers, judgement.answers) == (None, None, {"ambiguous": "yes"})


def test_a_rationale_has_a_limit_that_line_breaks_count_once_against() -> None:
    sheet = sheet_of([0, 1, 2], asks_rationale=True)
    longest = "x\r\n" * (RATIONALE_LIMIT // 2 - 1) + "xx"
    assert judged(judgement_read(sheet, GOOD | {"rationale": longest})).rationale == longest.replace("\r\n", "\n")
    problems = judgement_read(sheet, GOOD | {"rationale": longest + "x"}).problems
    assert problems == {"rationale": "The reasons have 50,001 characters; shorten them to 50,000."}


def test_confidence_and_rationale_are_read_only_when_asked() -> None:
    fields = GOOD | {"confidence": "3", "rationale": "  C is\x00 shorter. "}
    assert judged(judgement_read(sheet_of([0, 1, 2]), fields)).confidence is None
    asked = sheet_of([0, 1, 2], asks_confidence=True, asks_rationale=True)
    judgement = judged(judgement_read(asked, fields))
    assert (judgement.confidence, judgement.rationale) == (3, "C is shorter.")
    assert "confidence" in judgement_read(asked, GOOD | {"confidence": "5"}).problems


def test_the_first_order_entered_is_kept_beside_the_last() -> None:
    judgement = judged(judgement_read(sheet_of([0, 1, 2]), GOOD | {"first_ranking": "A B C"}))
    assert judgement.first_tiers == [[0], [1], [2]]
    assert judged(judgement_read(sheet_of([0, 1, 2]), GOOD | {"first_ranking": "junk"})).first_tiers is None


def test_the_first_preference_between_two_is_kept_too() -> None:
    sheet = sheet_of([1, 0], strength_steps=9, likert_points=0)
    for first, tiers in {"B A": [[0], [1]], "A=B": [[0, 1]], "": None}.items():
        assert judged(judgement_read(sheet, {"preference": "1", "first_ranking": first})).first_tiers == tiers


@given(st.dictionaries(st.sampled_from([*GOOD, "answer-A-harmful", "confidence", "preference"]), st.text(max_size=12)))
def test_no_form_raises(fields: dict[str, str]) -> None:
    reading = judgement_read(sheet_of([1, 2, 0], asks_confidence=True), fields)
    assert (reading.judgement is None) == bool(reading.problems)


def test_what_none_apply_answered_is_told_from_what_was_answered() -> None:
    """Only questions whose yes is bad, only where the answer still is no."""
    fields = {**GOOD, "bulk-A": "harmful,constraint,junk", "answer-A-harmful": "no", "answer-A-constraint": "no"}
    fields |= {"bulk-B": "harmful", "answer-B-harmful": "yes", "answer-C-harmful": "no"}
    said = judged(judgement_read(sheet_of([2, 0, 1]), fields))
    assert {slot: list(rating.in_bulk) for slot, rating in said.ratings.items()} == {2: ["harmful"], 0: [], 1: []}


def test_the_values_before_the_first_mark_are_kept_by_slot() -> None:
    before = {"ranking": "C A=B", "likert-A": "2", "likert-B": "9", "answer-C-harmful": "yes", "answer-C-x": "yes"}
    said = judged(judgement_read(sheet_of([2, 0, 1]), {**GOOD, "before_marks": json.dumps(before)}))
    assert said.before_marks == {"ranking": [[1], [0, 2]], "likert": {"2": 2}, "answers": {"1": {"harmful": "yes"}}}
    assert said.marks == "shown"


@pytest.mark.parametrize("raw", ["", "junk", "[1]", "null", '{"ranking": 3}', '{"likert-A": {"x": 1}}'])
def test_what_cannot_be_read_of_the_values_before_a_mark_stands_in_nobodys_way(raw: str) -> None:
    said = judged(judgement_read(sheet_of([0, 1, 2]), {**GOOD, "before_marks": raw}))
    assert said.before_marks in (None, {"ranking": None, "likert": {}, "answers": {}})


@pytest.mark.parametrize(
    ("fields", "marks"),
    [
        ({}, "shown"),
        ({"marks_contradictions": False}, ""),
        ({"asks_ranking": False}, ""),
        ({"likert_points": 0}, "shown"),
        ({"likert_points": 2}, "shown"),
    ],
)
def test_marks_are_due_where_ranking_and_ratings_can_disagree(fields: dict[str, object], marks: str) -> None:
    assert sheet_of([0, 1, 2], **fields).marks == marks


def test_without_severe_questions_thumbs_can_contradict_a_ranking_too() -> None:
    assert replace(sheet_of([0, 1, 2], likert_points=2), questions=QUESTIONS[1:]).marks == "shown"
    assert replace(sheet_of([0, 1, 2], likert_points=0), questions=QUESTIONS[1:]).marks == ""


def test_thumbs_are_two_points() -> None:
    alone = sheet_of([0], likert_points=2)
    assert judged(judgement_read(alone, {"likert-A": "2"})).ratings[0].likert == 2
    assert "good or not" in judgement_read(alone, {"likert-A": "3"}).problems["likert-A"]


def test_one_completion_is_rated_and_not_ranked() -> None:
    said = judged(judgement_read(sheet_of([0]), {"likert-A": "6", "ranking": "A"}))
    assert (said.tiers, said.edges, said.marks, said.ratings[0].likert) == (None, [], "", 6)


def test_later_seats_are_not_asked_about_the_prompt() -> None:
    later = replace(sheet_of([0, 1, 2]), first_seat=False)
    assert judged(judgement_read(later, {**GOOD, "answer-ambiguous": "yes"})).answers == {}


TEXTS = ["Water it.", "Cut it.", "Leave it."]


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"edit": "Cut it in May.", "edit_of": ""}, "which completion"),
        ({"edit": "Cut it in May.", "edit_of": "AB"}, "which completion"),
        ({"edit": "Cut it in May.", "edit_of": "A"}, "A is not"),
        ({"edit": " Leave it.\r\n", "edit_of": "C"}, "the same as completion C"),
        ({"edit": "x" * 100_001, "edit_of": "C"}, "shorten it to 100,000"),
    ],
)
def test_an_edit_is_of_the_best_and_changes_it(fields: dict[str, str], problem: str) -> None:
    reading = judgement_read(sheet_of([0, 1, 2], asks_edit=True), {**GOOD, **fields}, TEXTS)
    assert problem in reading.problems["edit"]


def test_an_edit_is_kept_with_its_slot_and_only_where_it_is_asked_for() -> None:
    fields = {**GOOD, "edit": "Leave it\r\nalone.", "edit_of": "C"}
    assert judged(judgement_read(sheet_of([2, 0, 1], asks_edit=True), fields, TEXTS)).edit == (1, "Leave it\nalone.")
    assert judged(judgement_read(sheet_of([2, 0, 1]), fields, TEXTS)).edit is None
