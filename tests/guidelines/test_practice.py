"""Worked examples: their rules, the letters each person sees, and how an answer compares with the team's."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from labelapp.errors import DomainError
from labelapp.guidelines.practice import (
    Answer,
    PracticeSpec,
    answer_read,
    cards_of,
    practice_problems,
    ranking_of_places,
)
from labelapp.guidelines.services import practice_create, practice_update, practice_withdraw
from labelapp.models import Annotator, AuditEntry, PracticeExample, Project, Protocol, User
from labelapp.projects.worked_examples import WORKED_EXAMPLES
from tests.factories import labeler_make

SPEC = PracticeSpec(
    protocol_name="Helpfulness",
    title="Pears",
    messages=[{"role": "user", "content": "How do I prune a pear tree?"}],
    completions=[
        {"text": "In winter.", "explanation": "Right.", "likert": 6, "points": 7},
        {"text": "Never.", "explanation": "Wrong.", "likert": 2, "points": 7},
        {"text": "In late winter.", "explanation": "Right, too.", "likert": 6, "points": 7},
    ],
    ranking=[[0, 2], [1]],
    explanation="Two say the same.",
)


@pytest.fixture
def example(project: Project, protocol: Protocol, omar: User) -> PracticeExample:
    return practice_create(project=project, spec=SPEC, actor=omar)


def answered(example: PracticeExample, annotator: Annotator, tiers: list[list[int]], **fields: str) -> Answer | str:
    """Answer with a ranking of places in the example's list, in whatever letters this person sees."""
    cards = cards_of(example, project=annotator.project, annotator=annotator)
    letters = {card.slot: card.letter for card in cards}
    ranking = " ".join("=".join(letters[slot] for slot in tier) for tier in tiers)
    return answer_read(example, cards, {"ranking": ranking, **fields})


def test_a_worked_example_is_kept_as_it_was_written(example: PracticeExample) -> None:
    example.refresh_from_db()
    assert {name: getattr(example, name) for name in asdict(SPEC)} == asdict(SPEC)
    assert AuditEntry.objects.filter(verb="practice_create", object_id=example.pk).exists()


def test_new_ones_come_last(project: Project, example: PracticeExample, omar: User) -> None:
    practice_create(project=project, spec=replace(SPEC, title="Plums"), actor=omar)
    assert [each.title for each in PracticeExample.objects.all()] == ["Pears", "Plums"]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        ({"title": " "}, "needs a title"),
        ({"messages": []}, "Write the prompt"),
        ({"messages": [{"role": "user", "content": " "}]}, "Write the prompt"),
        ({"messages": [{"role": "assistant", "content": "Hello"}]}, "end with what the user says"),
        ({"completions": SPEC.completions[:1], "ranking": [[0]]}, "2 to 4 completions; this one has 1"),
        ({"completions": SPEC.completions * 2}, "this one has 6"),
        ({"ranking": [[0], [1]]}, "name each completion once"),
        ({"ranking": []}, "name each completion once"),
        ({"explanation": "e" * 20_001}, "at most 20,000"),
        ({"completions": [{"text": " ", "explanation": ""}, *SPEC.completions[1:]]}, "needs a text"),
    ],
)
def test_a_rule_that_is_broken_is_said_in_words(
    project: Project, protocol: Protocol, omar: User, example: PracticeExample, changed: dict[str, Any], problem: str
) -> None:
    broken = replace(SPEC, **changed)
    assert [problem in said for said in practice_problems(broken)] == [True]
    with pytest.raises(DomainError, match=problem):
        practice_create(project=project, spec=broken, actor=omar)
    with pytest.raises(DomainError, match=problem):
        practice_update(example=example, spec=broken, actor=omar)
    example.refresh_from_db()
    assert (PracticeExample.objects.count(), example.title) == (1, "Pears")


def test_a_protocol_that_is_not_there_is_refused(project: Project, omar: User) -> None:
    with pytest.raises(DomainError, match="has no protocol “Helpfulness”"):
        practice_create(project=project, spec=SPEC, actor=omar)


def test_it_is_written_anew_and_taken_away(example: PracticeExample, omar: User) -> None:
    practice_update(example=example, spec=replace(SPEC, title="Plums", ranking=[[1], [0], [2]]), actor=omar)
    example.refresh_from_db()
    assert (example.title, example.ranking) == ("Plums", [[1], [0], [2]])
    practice_withdraw(example=example, actor=omar)
    assert not PracticeExample.objects.exists()
    verbs = AuditEntry.objects.filter(object_type="practiceexample").order_by("pk").values_list("verb", flat=True)
    assert list(verbs) == ["practice_create", "practice_update", "practice_withdraw"]


def test_letters_are_shuffled_for_each_person_and_stay(project: Project, example: PracticeExample) -> None:
    people = [labeler_make(project, f"lou{number}") for number in range(12)]
    orders = [[card.slot for card in cards_of(example, project=project, annotator=each)] for each in people]
    assert all(sorted(order) == [0, 1, 2] for order in orders)
    assert len({tuple(order) for order in orders}) > 1
    assert orders == [[card.slot for card in cards_of(example, project=project, annotator=each)] for each in people]


def test_the_same_ranking_agrees_on_every_pair(example: PracticeExample, annotator: Annotator) -> None:
    answer = answered(example, annotator, [[0, 2], [1]])
    assert isinstance(answer, Answer)
    assert (answer.alike, len(answer.pairs)) == (3, 3)
    assert answer.yours == answer.teams


def test_pairs_are_compared_one_by_one(example: PracticeExample, annotator: Annotator) -> None:
    answer = answered(example, annotator, [[0], [2], [1]])
    assert isinstance(answer, Answer)
    assert answer.alike == 2
    (differs,) = [pair for pair in answer.pairs if not pair.agree]
    assert ">" in differs.yours
    assert "=" in differs.teams
    assert sorted(differs.yours.split(" > ")) == differs.teams.split(" = ")


def test_the_other_way_round_agrees_on_nothing_strict(example: PracticeExample, annotator: Annotator) -> None:
    answer = answered(example, annotator, [[1], [0, 2]])
    assert isinstance(answer, Answer)
    assert answer.alike == 1


def test_ratings_stand_beside_the_teams(example: PracticeExample, annotator: Annotator) -> None:
    fields = {"likert-A": "6", "likert-B": "9", "likert-C": ""}
    answer = answered(example, annotator, [[0], [1], [2]], **fields)
    assert isinstance(answer, Answer)
    assert [rated.yours for rated in answer.rated] == [6, None, None]
    first = answer.rated[0]
    assert first.words == ("You rated it the same." if first.card.likert == 6 else "You rated it 6.")
    assert answer.rated[1].words == ""


def test_without_a_whole_ranking_it_says_what_is_missing(example: PracticeExample, annotator: Annotator) -> None:
    cards = cards_of(example, project=annotator.project, annotator=annotator)
    assert "Rank the completions" in str(answer_read(example, cards, {}))
    assert answer_read(example, cards, {"ranking": "A B"}) == "Still to be placed: C."
    assert "not among" in str(answer_read(example, cards, {"ranking": "A B Z"}))


def test_places_are_a_ranking_too(example: PracticeExample, annotator: Annotator) -> None:
    cards = cards_of(example, project=annotator.project, annotator=annotator)
    assert ranking_of_places(cards, {"place-A": "2", "place-B": "1", "place-C": "2"}) == "B A=C"
    assert ranking_of_places(cards, {"place-A": "3", "place-B": "x", "place-D": "1"}) == "A"
    by_place = answer_read(example, cards, {"place-A": "2", "place-B": "1", "place-C": "3"})
    assert isinstance(by_place, Answer)
    assert by_place.yours == "B A C"
    typed = answer_read(example, cards, {"ranking": "c b a", "place-A": "1"})
    assert isinstance(typed, Answer)
    assert typed.yours == "C B A"


@pytest.mark.parametrize("worked", WORKED_EXAMPLES, ids=lambda worked: str(worked["title"]))
def test_the_examples_of_a_new_project_break_no_rule(worked: dict[str, Any]) -> None:
    assert practice_problems(PracticeSpec(protocol_name="General quality", **worked)) == []
