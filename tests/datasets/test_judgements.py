"""Labels of a row, gathered by annotator."""

from itertools import permutations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labelapp.datasets.fields import RowError
from labelapp.datasets.judgements import LABELLED_TEXTS, Judgement, JudgementReader, RatingRow
from labelapp.labeling.ordering import edges_from_ranking, ranking_from_edges
from labelapp.models.tasks import MAX_COMPLETIONS

ABC = [("a", "Apple"), ("b", "Banana"), ("c", "Cherry")]
TWINS = [("a", "Apple"), ("b", "Banana"), ("c", "Apple")]


def read(completions: list[tuple[str, str]] = ABC, **labels: Any) -> list[Judgement]:
    return JudgementReader(completions).read(labels)


def refusal(completions: list[tuple[str, str]] = ABC, **labels: Any) -> tuple[str, str]:
    with pytest.raises(RowError) as refused:
        read(completions, **labels)
    return refused.value.field, refused.value.reason


def ranking(order: Any, **more: Any) -> dict[str, Any]:
    return {"annotator": "ann", "order": order, **more}


def preference(a: str, b: str, preferred: str, **more: Any) -> dict[str, Any]:
    return {"annotator": "ann", "a": a, "b": b, "preferred": preferred, **more}


def rating(completion: str, **more: Any) -> dict[str, Any]:
    return {"annotator": "ann", "completion": completion, **more}


def test_a_labelled_row_fits_into_a_task() -> None:
    assert LABELLED_TEXTS == MAX_COMPLETIONS


def test_no_labels_no_judgements() -> None:
    assert read() == []
    assert read(rankings=None, preferences=[]) == []


def test_a_ranking_becomes_edges() -> None:
    [judgement] = read(rankings=[ranking([["c"], ["a", "b"]])])
    assert judgement.annotator == "ann"
    assert judgement.edges == [(2, 0, ">", None, 1.0), (2, 1, ">", None, 1.0), (0, 1, "=", None, 1.0)]


def test_ids_may_stand_without_brackets() -> None:
    assert read(rankings=[ranking(["c", ["a", "b"]])]) == read(rankings=[ranking([["c"], ["a", "b"]])])


def test_a_ranking_may_leave_completions_out() -> None:
    [judgement] = read(rankings=[ranking(["c", "a"])])
    assert judgement.edges == [(2, 0, ">", None, 1.0)]


def test_a_ranking_has_rationale_and_confidence() -> None:
    [judgement] = read(rankings=[ranking(["a", "b"], rationale="Crisper", confidence=3)])
    assert (judgement.rationale, judgement.confidence) == ("Crisper", 3)


def test_preferences_become_edges() -> None:
    given_ = [preference("a", "b", "b", strength=4), preference("a", "c", "a"), preference("c", "b", "tie")]
    [judgement] = read(preferences=given_)
    assert judgement.edges == [(1, 0, ">", 4, 1.0), (0, 2, ">", None, 1.0), (1, 2, "=", None, 1.0)]


def test_ratings_are_kept_by_place() -> None:
    [judgement] = read(ratings=[rating("c", likert=7), rating("a", answers={"harmful": "no", "clear": None})])
    assert judgement.ratings == {2: RatingRow(7, {}), 0: RatingRow(None, {"harmful": "no", "clear": None})}


def test_all_by_one_annotator_is_one_judgement() -> None:
    other = {"annotator": "bob", "completion": "a", "likert": 1}
    judgements = read(rankings=[ranking(["a", "b"])], ratings=[rating("a", likert=6), other])
    assert [judgement.annotator for judgement in judgements] == ["ann", "bob"]
    assert (len(judgements[0].edges), len(judgements[0].ratings)) == (1, 1)


def test_the_same_text_has_one_place() -> None:
    [judgement] = read(TWINS, rankings=[ranking([["a", "c"], ["b"]])])
    assert judgement.edges == [(0, 1, ">", None, 1.0)]
    [judgement] = read(TWINS, preferences=[preference("c", "b", "a"), preference("a", "c", "tie")])
    assert judgement.edges == [(0, 1, ">", None, 1.0)]
    [judgement] = read(TWINS, ratings=[rating("a", likert=5), rating("c", likert=5)])
    assert judgement.ratings == {0: RatingRow(5, {})}


@pytest.mark.parametrize(
    ("labels", "where", "why"),
    [
        ({"rankings": {}}, "rankings", "Expected a list"),
        ({"rankings": [3]}, "rankings[0]", "Expected an object"),
        ({"rankings": [{"order": ["a", "b"]}]}, "rankings[0].annotator", "missing"),
        ({"rankings": [ranking(None)]}, "rankings[0].order", "at least two"),
        ({"rankings": [ranking(["a"])]}, "rankings[0].order", "at least two"),
        ({"rankings": [ranking("ab")]}, "rankings[0].order", "Expected a list"),
        ({"rankings": [ranking([["a"], []])]}, "rankings[0].order[1]", "empty"),
        ({"rankings": [ranking([["a"], ["x"]])]}, "rankings[0].order[1][0]", "this row has the id “x”"),
        ({"rankings": [ranking(["a", "x"])]}, "rankings[0].order[1]", "a, b, c"),
        ({"rankings": [ranking([["a", "a"]])]}, "rankings[0].order[0][1]", "twice"),
        ({"rankings": [ranking(["a", "b"], confidence=5)]}, "rankings[0].confidence", "from 1 to 4"),
        ({"rankings": [ranking(["a", "b"], rationale=3)]}, "rankings[0].rationale", "Expected text"),
        ({"rankings": [ranking(["a", "b"]), ranking(["b", "a"])]}, "rankings[1]", "already"),
        ({"rankings": [ranking(["a", "b"])], "preferences": [preference("a", "b", "a")]}, "preferences[0]", "too"),
        ({"preferences": [preference("a", "a", "a")]}, "preferences[0].b", "compared with itself"),
        ({"preferences": [preference("a", "x", "a")]}, "preferences[0].b", "“x”"),
        ({"preferences": [preference("a", "b", "c")]}, "preferences[0].preferred", "one of a, b, tie"),
        ({"preferences": [preference("a", "b", "tie", strength=1)]}, "preferences[0].strength", "no strength"),
        ({"preferences": [preference("a", "b", "a", strength=5)]}, "preferences[0].strength", "from 1 to 4"),
        ({"preferences": [preference("a", "b", "a"), preference("b", "a", "a")]}, "preferences[1]", "differently"),
        ({"preferences": [preference("a", "b", "a") | {"win": 1}]}, "preferences[0].win", "no such field"),
        ({"ratings": [rating("a")]}, "ratings[0].likert", "missing"),
        ({"ratings": [rating("a", likert=8)]}, "ratings[0].likert", "from 1 to 7"),
        ({"ratings": [rating("a", likert=3.0)]}, "ratings[0].likert", "found 3.0"),
        ({"ratings": [rating("a", likert=True)]}, "ratings[0].likert", "true or false"),
        ({"ratings": [rating("a", answers={"harmful": "maybe"})]}, "ratings[0].answers.harmful", "one of yes, no, na"),
        ({"ratings": [rating("a", answers={"": "yes"})]}, "ratings[0].answers", "empty"),
        ({"ratings": [rating("a", answers=["yes"])]}, "ratings[0].answers", "Expected an object"),
        ({"ratings": [rating("a", likert=1), rating("a", likert=2)]}, "ratings[1]", "differently"),
    ],
)
def test_it_says_what_is_wrong(labels: dict[str, Any], where: str, why: str) -> None:
    field, reason = refusal(**labels)
    assert field == where
    assert why.lower() in reason.lower()


@pytest.mark.parametrize(
    "labels",
    [
        {"rankings": [ranking(["a", "b", "c"])]},
        {"preferences": [preference("a", "c", "a")]},
        {"preferences": [preference("a", "b", "a"), preference("b", "c", "a")]},
        {"ratings": [rating("a", likert=5), rating("c", likert=4)]},
    ],
)
def test_the_same_text_cannot_be_judged_differently(labels: dict[str, Any]) -> None:
    assert refusal(TWINS, **labels)[1]


def test_saying_the_same_twice_is_no_contradiction() -> None:
    [judgement] = read(preferences=[preference("a", "b", "a"), preference("b", "a", "b")])
    assert judgement.edges == [(0, 1, ">", None, 1.0)]


def test_completions_without_ids_cannot_be_named() -> None:
    assert "None of its completions has an id" in refusal([("", "Apple")], ratings=[rating("a", likert=1)])[1]
    assert refusal([("", "Apple")], ratings=[rating("", likert=1)])[0] == "ratings[0].completion"


def test_a_labelled_row_has_at_most_nine_texts() -> None:
    ten = [(str(number), f"Text {number}") for number in range(10)]
    assert read(ten) == []
    assert refusal(ten, ratings=[rating("3", likert=1)])[0] == "completions"
    nine_twice = [(str(number), f"Text {number % 9}") for number in range(18)]
    assert len(read(nine_twice, ratings=[rating("3", likert=1)])) == 1


@given(st.permutations("abc"), st.lists(st.booleans(), min_size=2, max_size=2))
def test_preferences_that_are_a_ranking_give_it_back(order: list[str], tied: list[bool]) -> None:
    tiers: list[list[str]] = [[order[0]]]
    for name, tie in zip(order[1:], tied, strict=True):
        if tie:
            tiers[-1].append(name)
        else:
            tiers.append([name])
    rank = {name: tier for tier, names in enumerate(tiers) for name in names}
    pairs = [
        preference(x, y, "tie" if rank[x] == rank[y] else "a" if rank[x] < rank[y] else "b")
        for x, y in permutations("abc", 2)
        if x < y
    ]
    slots = [sorted("abc".index(name) for name in names) for names in tiers]
    [judgement] = read(preferences=pairs)
    assert ranking_from_edges(judgement.edges, 3) == slots
    assert sorted(judgement.edges) == sorted(edges_from_ranking(slots))
