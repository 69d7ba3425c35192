"""Improved completions in snapshots: edited > chosen > rejected, from the database to what the trainer reads."""

import hashlib
from typing import Any

import pytest

from labelapp.datasets.snapshot_diff import snapshot_diff
from labelapp.models import Annotation, Annotator, ComparisonTask, Completion, ModelVersion, Project, Protocol, Snapshot
from tests import factories
from tests.datasets.freezing import batch_labelled_elsewhere, freeze, frozen, left_out
from trainer.data.snapshots import ComparisonRow

pytestmark = pytest.mark.usefixtures("own_folders")

EDITED = "Edited by labelers"


@pytest.fixture
def task(project: Project, protocol: Protocol) -> ComparisonTask:
    """A task of three completions."""
    return batch_labelled_elsewhere(project, protocol, tasks=1, k=3).tasks.get()


def improved(task: ComparisonTask, text: str = "Cut it in winter, above a bud.") -> Completion:
    """An improved text for a task."""
    people = {"kind": ModelVersion.Kind.HUMAN}
    model, _ = ModelVersion.objects.get_or_create(project=task.batch.project, name=EDITED, defaults=people)
    digest = hashlib.sha256(text.encode()).hexdigest()
    key = {"prompt": task.prompt, "model_version": model, "source_key": digest}
    return Completion.objects.get_or_create(**key, defaults={"text": text, "text_hash": digest})[0]


def edited(task: ComparisonTask, annotator: Annotator, ranking: list[list[int]], of: int, **fields: Any) -> Annotation:
    edit = fields.pop("edit", None) or improved(task)
    return factories.annotation_make(task, annotator, ranking=ranking, edit=edit, edit_of=of, **fields)


def said(row: ComparisonRow) -> set[tuple[int, str, int]]:
    """The pairs of a row, by places."""
    return {(edge["i"], edge["outcome"], edge["j"]) for edge in row["edges"]}


def test_an_edit_is_preferred_to_all_when_the_best_was_improved(
    project: Project, task: ComparisonTask, crowd: list[Annotator]
) -> None:
    edited(task, crowd[0], [[1], [0, 2]], of=1)
    snapshot = frozen(project)
    row = snapshot.comparisons[0]
    assert row["ranking"] == [[3], [1], [0, 2]]
    assert said(row) == {(3, ">", 0), (3, ">", 1), (3, ">", 2), (1, ">", 0), (1, ">", 2), (0, "=", 2)}
    assert {edge["strength"] for edge in row["edges"] if edge["i"] == 3} == {None}
    text = snapshot.completions[row["completions"][3]]
    assert (text["text"], text["model"]) == ("Cut it in winter, above a bud.", EDITED)
    assert snapshot.manifest["counts"]["completions"] == 4


def test_an_edit_of_another_says_nothing_about_better_ones(
    project: Project, task: ComparisonTask, crowd: list[Annotator]
) -> None:
    edited(task, crowd[0], [[0], [1], [2]], of=1)
    row = frozen(project).comparisons[0]
    assert row["ranking"] is None
    assert {pair for pair in said(row) if 3 in pair} == {(3, ">", 1), (3, ">", 2)}


def test_each_row_has_its_own_edit_alone(project: Project, task: ComparisonTask, crowd: list[Annotator]) -> None:
    edited(task, crowd[0], [[0], [1], [2]], of=0)
    edited(task, crowd[1], [[0], [1], [2]], of=0, edit=improved(task, "Never cut it."))
    factories.annotation_make(task, crowd[2], ranking=[[0], [1], [2]])
    snapshot = frozen(project)
    texts = [
        [snapshot.completions[pk]["text"] for pk in row["completions"] if snapshot.completions[pk]["model"] == EDITED]
        for row in snapshot.comparisons
    ]
    assert texts == [["Cut it in winter, above a bud."], ["Never cut it."], []]
    assert [row["ranking"] for row in snapshot.comparisons] == [[[3], [0], [1], [2]]] * 2 + [[[0], [1], [2]]]


def test_edits_stand_as_they_were_said_in_a_majority(
    project: Project, task: ComparisonTask, crowd: list[Annotator]
) -> None:
    """Two prefer the first; the third improved the last, which they had placed in the middle."""
    for annotator in crowd[:2]:
        factories.annotation_make(task, annotator, ranking=[[0], [1], [2]])
    edited(task, crowd[2], [[0], [2], [1]], of=2)
    row = frozen(project, combine="pairwise_majority").comparisons[0]
    assert said(row) == {(0, ">", 1), (0, ">", 2), (1, ">", 2), (3, ">", 1), (3, ">", 2)}
    assert len(row["completions"]) == 4


def test_edits_of_two_stand_side_by_side_and_equal_ones_are_one(
    project: Project, task: ComparisonTask, crowd: list[Annotator]
) -> None:
    for annotator in crowd[:2]:
        edited(task, annotator, [[0], [1], [2]], of=0)
    edited(task, crowd[2], [[0], [1], [2]], of=0, edit=improved(task, "Never cut it."))
    for combine in ("pairwise_majority", "soft"):
        row = frozen(project, combine=combine).comparisons[0]
        assert len(set(row["completions"])) == 5
        edits = {(edge["i"], edge["j"]): edge["weight"] for edge in row["edges"] if edge["i"] > 2}
        assert edits == {(edit, slot): 1.0 for edit in (3, 4) for slot in (0, 1, 2)}


def test_one_completion_and_its_edit_are_a_comparison(
    project: Project, protocol: Protocol, crowd: list[Annotator]
) -> None:
    task = batch_labelled_elsewhere(project, protocol, tasks=1, k=1).tasks.get()
    edited(task, crowd[0], [[0]], of=0)
    for combine in ("all", "pairwise_majority", "soft"):
        assert said(frozen(project, combine=combine, ties="drop").comparisons[0]) == {(1, ">", 0)}


def test_an_edit_that_the_task_has_anyway_says_nothing_more(
    project: Project, task: ComparisonTask, crowd: list[Annotator]
) -> None:
    known = task.task_completions.get(slot=2).completion
    edited(task, crowd[0], [[0], [1], [2]], of=0, edit=known)
    for combine in ("all", "pairwise_majority"):
        row = frozen(project, combine=combine).comparisons[0]
        assert (len(row["completions"]), row["ranking"]) == (3, [[0], [1], [2]])


def test_the_edit_of_a_surplus_label_is_out_too(
    project: Project, protocol: Protocol, task: ComparisonTask, crowd: list[Annotator]
) -> None:
    factories.annotation_make(task, crowd[0])
    edited(task, crowd[1], [[0], [1], [2]], of=0, surplus=True)
    without = frozen(project)
    assert {row["model"] for row in without.completions.values()} == {"tiny-1"}
    assert left_out(without) == {"surplus": 1}
    asked_for = frozen(project, include_surplus=True)
    assert EDITED in {row["model"] for row in asked_for.completions.values()}


def test_an_edit_that_came_later_is_told_by_the_diff(
    project: Project, task: ComparisonTask, crowd: list[Annotator]
) -> None:
    first = factories.annotation_make(task, crowd[0])
    one = freeze(project).result["snapshot"]
    edited(task, crowd[0], [[0], [1], [2]], of=0, supersedes=first)
    two = freeze(project).result["snapshot"]
    diff = snapshot_diff(*(Snapshot.objects.get(pk=pk) for pk in (one, two)))
    told = [(change.table, change.kind, change.cause) for change in diff.changes]
    assert told == [
        ("comparisons", "added", "a correction of an earlier label"),
        ("comparisons", "removed", "superseded by a correction"),
        ("completions", "added", "came or went with its labels"),
    ]


def test_combined_rows_change_with_an_edit(project: Project, task: ComparisonTask, crowd: list[Annotator]) -> None:
    factories.annotation_make(task, crowd[0])
    one = freeze(project, combine="soft").result["snapshot"]
    edited(task, crowd[1], [[0], [1], [2]], of=0)
    two = freeze(project, combine="soft").result["snapshot"]
    diff = snapshot_diff(*(Snapshot.objects.get(pk=pk) for pk in (one, two)))
    assert [(change.kind, change.cause) for change in diff.changes if change.table == "comparisons"] == [
        ("changed", "new label")
    ]
