"""Which demonstrations a snapshot takes: not surplus ones, none on prompts in quarantine, the newest of each person."""

from datetime import timedelta

import pytest
from django.utils import timezone

from labelapp.datasets.snapshot_diff import snapshot_diff
from labelapp.models import Annotator, Batch, ComparisonTask, Demonstration, Project, Prompt, Protocol, Snapshot
from tests.datasets.freezing import annotation_age, batch_labelled_elsewhere, freeze, frozen, left_out
from tests.factories import (
    annotation_make,
    batch_to_write,
    demonstration_make,
    external_make,
    labeler_make,
    prompt_make,
)

pytestmark = pytest.mark.usefixtures("own_folders")


@pytest.fixture
def batch(project: Project, protocol: Protocol) -> Batch:
    return batch_to_write(project, protocol, tasks=3)


@pytest.fixture
def to_write(batch: Batch) -> list[ComparisonTask]:
    return list(batch.tasks.order_by("pk"))


@pytest.fixture
def writers(project: Project) -> list[Annotator]:
    return [labeler_make(project, name) for name in ("lea", "max")]


def taken(project: Project, **options: object) -> tuple[list[str], dict[str, int]]:
    """The texts in a snapshot, and why the others are not in it."""
    snapshot = frozen(project, **options)
    out: dict[str, int] = snapshot.manifest["counts"]["demonstrations_left_out"]
    return [row["text"] for row in snapshot.demonstrations], out


def test_surplus_stays_out_unless_asked_for(
    project: Project, to_write: list[ComparisonTask], writers: list[Annotator]
) -> None:
    demonstration_make(to_write[0], writers[0], "In winter.")
    demonstration_make(to_write[0], writers[1], "Too late.", surplus=True)
    assert taken(project) == (["In winter."], {"surplus": 1})
    assert taken(project, include_surplus=True) == (["In winter.", "Too late."], {})


def test_surplus_takes_nobodys_place(project: Project, protocol: Protocol, writers: list[Annotator]) -> None:
    first = batch_to_write(project, protocol, tasks=1)
    prompt = first.tasks.get().prompt
    second = Batch.objects.create(project=project, protocol=protocol, name="Again", work=first.work, shared_share=0)
    again = ComparisonTask.objects.create(
        batch=second, prompt=prompt, overlap=1, completions_key="", selection_rule="all", selection_probability=1
    )
    demonstration_make(first.tasks.get(), writers[0], "In winter.")
    demonstration_make(again, writers[0], "Too late.", surplus=True)
    assert taken(project) == (["In winter."], {"surplus": 1})
    assert taken(project, include_surplus=True) == (["Too late."], {"repeated": 1})


def test_corrections_count_and_settle_like_labels(
    project: Project, to_write: list[ComparisonTask], writers: list[Annotator]
) -> None:
    first = demonstration_make(to_write[0], writers[0], "In winter.")
    fixed = demonstration_make(to_write[0], writers[0], "In late winter.", supersedes=first)
    settled = demonstration_make(to_write[1], writers[0], "Above a bud.")
    annotation_age(settled, 25)
    assert taken(project) == (["In late winter.", "Above a bud."], {"superseded": 1})
    assert taken(project, minimum_state="accepted") == (["Above a bud."], {"superseded": 1, "fresh": 1})
    annotation_age(fixed, 25)
    assert taken(project, minimum_state="accepted")[1] == {"superseded": 1}


def test_what_was_written_for_a_task_is_of_its_batch(
    project: Project, protocol: Protocol, to_write: list[ComparisonTask], writers: list[Annotator]
) -> None:
    compared = batch_labelled_elsewhere(project, protocol, tasks=1)
    annotation_make(compared.tasks.get(), external_make(project))
    demonstration_make(to_write[0], writers[0], "In winter.")
    assert taken(project, batches=(to_write[0].batch_id,))[0] == ["In winter."]
    assert taken(project, batches=(compared.pk,)) == ([], {"batch": 1})


def test_nothing_is_learned_from_a_prompt_in_quarantine(
    project: Project, protocol: Protocol, to_write: list[ComparisonTask], writers: list[Annotator]
) -> None:
    compared = batch_labelled_elsewhere(project, protocol, tasks=2).tasks.order_by("pk")
    for task in compared:
        annotation_make(task, writers[0], surplus=False)
    for task in to_write[:2]:
        demonstration_make(task, writers[0], "In winter.")
    one = freeze(project).result["snapshot"]
    away = Prompt.objects.filter(pk__in=[compared[0].prompt_id, to_write[0].prompt_id])
    away.update(quarantined_at=timezone.now())
    snapshot = frozen(project)
    assert ([row["task"] for row in snapshot.comparisons], len(snapshot.demonstrations)) == ([compared[1].pk], 1)
    assert (left_out(snapshot), snapshot.manifest["counts"]["demonstrations_left_out"]) == (
        {"quarantined": 1},
        {"quarantined": 1},
    )
    two = freeze(project).result["snapshot"]
    diff = snapshot_diff(*(Snapshot.objects.get(pk=pk) for pk in (one, two)))
    told = {(change.table, change.kind): change.cause for change in diff.changes}
    why = "the prompt went into quarantine"
    assert (told["comparisons", "removed"], told["demonstrations", "removed"]) == (why, why)
    away.update(quarantined_at=timezone.now() + timedelta(hours=1))
    assert len(frozen(project).demonstrations) == 2


def test_demonstrations_are_the_newest_of_each_annotator(project: Project, writers: list[Annotator]) -> None:
    prompt = prompt_make(project)
    first = Demonstration.objects.create(prompt=prompt, annotator=writers[0], text="One", text_hash="1")
    second = Demonstration.objects.create(
        prompt=prompt, annotator=writers[0], text="Two", text_hash="2", supersedes=first
    )
    third = Demonstration.objects.create(prompt=prompt, annotator=writers[1], text="Three", text_hash="3")
    Demonstration.objects.create(prompt=prompt, annotator=external_make(project, "kim"), text=" ", text_hash="4")
    snapshot = frozen(project)
    assert [(row["demonstration"], row["text"]) for row in snapshot.demonstrations] == [
        (second.pk, "Two"),
        (third.pk, "Three"),
    ]
    assert list(snapshot.prompts) == [prompt.pk]
    assert snapshot.manifest["counts"]["demonstrations_left_out"] == {"superseded": 1, "empty": 1}


def test_with_batches_chosen_demonstrations_are_on_their_prompts(
    project: Project, batch: Batch, writers: list[Annotator]
) -> None:
    prompts = [batch.tasks.earliest("pk").prompt, prompt_make(project)]
    for prompt in prompts:
        Demonstration.objects.create(prompt=prompt, annotator=writers[0], text="Mine", text_hash="1")
    snapshot = frozen(project, batches=(batch.pk,))
    assert [row["prompt"] for row in snapshot.demonstrations] == [prompts[0].pk]
