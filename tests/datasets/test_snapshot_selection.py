"""Which labels of a task count, at which moment."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from labelapp.datasets.freeze_options import FreezeOptions, freeze_options_read
from labelapp.datasets.selection import CAUSES, Cause, Label, Task, label_causes, task_cause
from labelapp.errors import DomainError
from labelapp.labeling.ordering import edges_from_ranking

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SUBMITTED = FreezeOptions(minimum_state="submitted")
ACCEPTED = FreezeOptions()


def label(pk: int, hours_ago: float = 48, annotator: int = 1, **fields: Any) -> Label:
    said = {"task": 1, "kind": "person", "group": "training", "created_at": NOON - timedelta(hours=hours_ago), **fields}
    return Label(pk=pk, annotator=annotator, **said)


def causes(*labels: Label, options: FreezeOptions = ACCEPTED, as_of: datetime = NOON) -> list[Cause | None]:
    return list(label_causes(labels, options, as_of).values())


def test_a_correction_after_the_moment_corrects_nothing() -> None:
    first, later = label(1), label(2, hours_ago=-1, supersedes=1)
    assert causes(first, later) == [None, Cause.LATER]
    assert causes(first, later, as_of=NOON + timedelta(hours=2)) == [Cause.SUPERSEDED, Cause.FRESH]
    assert causes(first, later, as_of=NOON + timedelta(hours=25)) == [Cause.SUPERSEDED, None]


def test_of_a_chain_the_end_counts() -> None:
    chain = [label(1), label(2, supersedes=1), label(3, supersedes=2)]
    assert causes(*chain) == [Cause.SUPERSEDED, Cause.SUPERSEDED, None]


def test_exactly_a_day_is_enough() -> None:
    assert causes(label(1, hours_ago=24)) == [None]
    assert causes(label(1, hours_ago=23.99)) == [Cause.FRESH]
    assert causes(label(1, hours_ago=0), options=SUBMITTED) == [None]


def test_a_correction_of_surplus_is_surplus() -> None:
    chain = [label(1, surplus=True), label(2, supersedes=1)]
    assert causes(*chain) == [Cause.SUPERSEDED, Cause.SURPLUS]
    assert causes(*chain, options=FreezeOptions(include_surplus=True)) == [Cause.SUPERSEDED, None]


def test_the_newest_is_taken_or_nothing_of_the_annotator() -> None:
    assert causes(label(1, 50), label(2, 3)) == [Cause.REPEATED, Cause.FRESH]
    assert causes(label(1, 50), label(2, 3, annotator=2)) == [None, Cause.FRESH]


@pytest.mark.parametrize(
    ("options", "cause"),
    [
        ({"batches": (2,)}, Cause.BATCH),
        ({"splits": ("test",)}, Cause.SPLIT),
        ({"batches": (1,), "splits": ("train",)}, None),
    ],
)
def test_tasks_out_of_reach(options: dict[str, Any], cause: Cause | None) -> None:
    task = Task(pk=1, prompt=1, split="train", batch=1, purpose="production")
    assert task_cause(task, FreezeOptions(**options), NOON) == cause


@pytest.mark.parametrize("purpose", ["gold", "sentinel", "screening", "practice", "repeat"])
def test_tasks_that_check_people_are_out_of_reach(purpose: str) -> None:
    task = Task(pk=1, prompt=1, split="train", batch=1, purpose=purpose)
    assert task_cause(task, ACCEPTED, NOON) == Cause.PURPOSE


def test_a_quarantine_counts_from_when_it_began() -> None:
    task = Task(pk=1, prompt=1, split="train", batch=1, purpose="production", quarantined_at=NOON)
    assert task_cause(task, ACCEPTED, NOON) == Cause.QUARANTINED
    assert task_cause(task, ACCEPTED, NOON - timedelta(minutes=1)) is None


def test_an_edit_beats_what_it_improves_and_all_that_this_beats_or_ties() -> None:
    ranked = edges_from_ranking([[3], [0, 2], [1]])
    assert label(1, edges=ranked, edit=9, edit_of=0).beaten_by_edit() == [0, 1, 2]
    assert label(1, edges=ranked, edit=9, edit_of=2).beaten_by_edit() == [0, 1, 2]
    assert label(1, edges=ranked, edit=9, edit_of=3).beaten_by_edit() == [0, 1, 2, 3]
    assert label(1, edges=(), edit=9, edit_of=0).beaten_by_edit() == [0]
    assert label(1, edges=ranked).beaten_by_edit() == []


def test_every_cause_can_be_said() -> None:
    assert CAUSES.keys() == set(Cause)


def test_options_survive_a_payload() -> None:
    options = FreezeOptions(batches=(3,), weights={7: 0.5}, settled_hours=2, combine="soft")
    assert freeze_options_read(options.payload()) == options
    with pytest.raises(DomainError, match="no option colour"):
        freeze_options_read({"colour": "red"})


@pytest.mark.parametrize(
    "options",
    [{"splits": ("dev",)}, {"groups": ()}, {"kinds": ("robot",)}, {"combine": "vote"}, {"ties": "soft"},
     {"minimum_state": "reviewed"}, {"settled_hours": -1}, {"settled_hours": float("nan")}, {"weights": {1: -0.5}}],
)  # fmt: skip
def test_options_that_mean_nothing_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(DomainError, match=next(iter(options))):
        FreezeOptions(**options)
