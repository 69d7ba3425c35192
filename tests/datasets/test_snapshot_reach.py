"""Which labels a snapshot takes of those that there are."""

from typing import Any

import pytest

from labelapp.models import (
    Annotator,
    Batch,
    ComparisonTask,
    Demonstration,
    Job,
    ModelVersion,
    Project,
    Protocol,
    Rating,
    Round,
)
from tests import factories
from tests.datasets.freezing import annotation_age, batch_labelled_elsewhere, freeze, frozen, left_out, split_change

pytestmark = pytest.mark.usefixtures("own_folders")


def test_a_correction_counts_and_what_it_corrects_does_not(
    project: Project, task: ComparisonTask, crowd: list[Annotator]
) -> None:
    first = factories.annotation_make(task, crowd[0])
    second = factories.annotation_make(task, crowd[0], supersedes=first, ranking=[[1], [0], [2]])
    snapshot = frozen(project)
    assert [row["ranking"] for row in snapshot.comparisons] == [[[1], [0], [2]]]
    assert snapshot.comparisons[0]["comparison"].endswith(f"{second.pk:012d}")
    assert left_out(snapshot) == {"superseded": 1}


def test_of_one_annotator_only_the_newest_label_of_a_task_counts(
    project: Project, task: ComparisonTask, crowd: list[Annotator]
) -> None:
    own = factories.annotation_make(task, crowd[0])
    others = factories.annotation_make(task, crowd[1])
    correction = factories.annotation_make(task, crowd[0], supersedes=others, ranking=[[2], [1], [0]])
    snapshot = frozen(project)
    assert [row["comparison"][-12:] for row in snapshot.comparisons] == [f"{correction.pk:012d}"]
    assert own.pk < correction.pk
    assert left_out(snapshot) == {"superseded": 1, "repeated": 1}


def test_surplus_counts_only_when_asked_for(project: Project, protocol: Protocol, crowd: list[Annotator]) -> None:
    task = factories.batch_with_tasks(project, protocol, tasks=1, k=3).tasks.get()
    surplus = factories.annotation_make(task, crowd[0])
    factories.annotation_make(task, crowd[0], supersedes=surplus)
    assert freeze(project).state == Job.State.FAILED
    snapshot = frozen(project, include_surplus=True)
    assert len(snapshot.comparisons) == 1
    assert snapshot.manifest["options"]["include_surplus"] is True


def test_accepted_labels_have_stood_for_a_day(project: Project, batch: Batch, crowd: list[Annotator]) -> None:
    old, fresh = batch.tasks.order_by("pk")
    annotation_age(factories.annotation_make(old, crowd[0]), 25)
    annotation_age(factories.annotation_make(fresh, crowd[0]), 23)
    snapshot = frozen(project, minimum_state="accepted")
    assert [row["task"] for row in snapshot.comparisons] == [old.pk]
    assert left_out(snapshot) == {"fresh": 1}
    assert len(frozen(project, minimum_state="accepted", settled_hours=22).comparisons) == 2
    assert len(frozen(project, minimum_state="submitted").comparisons) == 2


def test_a_fresh_correction_takes_the_settled_label_along(
    project: Project, task: ComparisonTask, crowd: list[Annotator]
) -> None:
    first = factories.annotation_make(task, crowd[0])
    factories.annotation_make(task, crowd[0], supersedes=first)
    annotation_age(first, 100)
    job = freeze(project, minimum_state="accepted")
    assert job.state == Job.State.FAILED
    assert job.result["counts"]["left_out"] == {"fresh": 1, "superseded": 1}
    assert "1 corrected by a newer one" in job.message
    assert "1 too fresh" in job.message


def test_ratings_and_demonstrations_stay_out_when_not_asked_for(
    project: Project, task: ComparisonTask, crowd: list[Annotator]
) -> None:
    annotation = factories.annotation_make(task, crowd[0])
    Rating.objects.create(annotation=annotation, slot=1, likert=6)
    Demonstration.objects.create(prompt=task.prompt, annotator=crowd[0], text="Mine", text_hash="1")
    snapshot = frozen(project, ratings=False, demonstrations=False)
    assert (len(snapshot.comparisons), snapshot.ratings, snapshot.demonstrations) == (1, [], [])
    both = frozen(project)
    assert (len(both.ratings), len(both.demonstrations)) == (1, 1)


@pytest.mark.parametrize(
    ("options", "cause"),
    [({"groups": ("training",)}, "group"), ({"kinds": ("person",), "groups": ("held_out",)}, "kind")],
)
def test_groups_and_kinds_choose_annotators(
    project: Project, task: ComparisonTask, crowd: list[Annotator], options: dict[str, Any], cause: str
) -> None:
    Annotator.objects.filter(pk=crowd[0].pk).update(group="held_out")
    factories.annotation_make(task, crowd[0])
    job = freeze(project, **options)
    assert (job.state, job.result["counts"]["left_out"]) == (Job.State.FAILED, {cause: 1})
    [row] = frozen(project, groups=("held_out", "training")).comparisons
    assert row["group"] == "held_out"


def test_batches_rounds_and_splits_are_the_reach(
    project: Project, protocol: Protocol, batch: Batch, crowd: list[Annotator]
) -> None:
    other = batch_labelled_elsewhere(project, protocol, tasks=1, k=2)
    for task in ComparisonTask.objects.all():
        factories.annotation_make(task, crowd[0])
    split_change(other.tasks.get().prompt_id, "test")
    policy = ModelVersion.objects.create(project=project, name="policy", kind="policy")
    Round.objects.create(project=project, number=1, policy=policy, batch=batch)
    by_batch = frozen(project, batches=(other.pk,))
    assert ([row["task"] for row in by_batch.comparisons], left_out(by_batch)) == ([other.tasks.get().pk], {"batch": 2})
    by_round = frozen(project, rounds=(1,))
    assert {row["task"] for row in by_round.comparisons} == set(batch.tasks.values_list("pk", flat=True))
    assert by_round.manifest["options"]["batches"] == [batch.pk]
    by_split = frozen(project, splits=("train", "validation"))
    assert (len(by_split.comparisons), left_out(by_split)) == (2, {"split": 1})


def test_tasks_that_check_labelers_are_not_learned_from(project: Project, batch: Batch, crowd: list[Annotator]) -> None:
    first, second = batch.tasks.order_by("pk")
    for task in (first, second):
        factories.annotation_make(task, crowd[0])
    ComparisonTask.objects.filter(pk=second.pk).update(purpose="gold")
    snapshot = frozen(project)
    assert ([row["task"] for row in snapshot.comparisons], left_out(snapshot)) == ([first.pk], {"purpose": 1})
