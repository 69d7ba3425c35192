"""What differs between two snapshots, and why."""

import hashlib
import json
import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pyarrow.parquet as pq
import pytest

from labelapp.artifacts.services import artifact_publish
from labelapp.datasets.snapshot_diff import SnapshotDiff, snapshot_diff
from labelapp.datasets.snapshots import snapshot_localise
from labelapp.errors import DomainError
from labelapp.models import (
    Annotator,
    Artifact,
    Batch,
    ComparisonTask,
    Demonstration,
    Project,
    Protocol,
    Rating,
    Snapshot,
)
from tests import factories
from tests.datasets.freezing import annotation_age, batch_labelled_elsewhere, freeze

pytestmark = pytest.mark.usefixtures("own_folders")


@pytest.fixture
def batch(project: Project, protocol: Protocol) -> Batch:
    return batch_labelled_elsewhere(project, protocol, tasks=3, k=3)


@pytest.fixture
def labelled(batch: Batch, crowd: list[Annotator]) -> list[ComparisonTask]:
    """Three tasks; the first two are labelled."""
    found = list(batch.tasks.order_by("pk"))
    for task in found[:2]:
        factories.annotation_make(task, crowd[0])
    return found


def snap(project: Project, **options: Any) -> Snapshot:
    job = freeze(project, **options)
    assert "snapshot" in job.result, job.message + job.error
    return Snapshot.objects.get(pk=job.result["snapshot"])


def changes(diff: SnapshotDiff, table: str = "comparisons") -> list[tuple[str, str, int]]:
    return [(change.kind, change.cause, change.count) for change in diff.changes if change.table == table]


def test_a_snapshot_equals_itself(project: Project, labelled: list[ComparisonTask]) -> None:
    one = snap(project)
    diff = snapshot_diff(one, one)
    assert diff.is_empty
    assert diff.options == []
    assert (diff.same["comparisons"], diff.same["completions"]) == (2, 6)


def test_a_new_label_is_added(project: Project, labelled: list[ComparisonTask], crowd: list[Annotator]) -> None:
    one = snap(project)
    factories.annotation_make(labelled[2], crowd[1], ranking=[[1], [0, 2]])
    two = snap(project)
    diff = snapshot_diff(one, two)
    assert changes(diff) == [("added", "new label", 1)]
    assert changes(diff, "prompts") == [("added", "came or went with its labels", 1)]
    [example] = diff.changes[0].examples
    assert example.startswith(f"task {labelled[2].pk}: ")
    assert " = " in example
    assert changes(snapshot_diff(two, one)) == [("removed", "new label", 1)]


def test_a_second_label_changes_the_share_of_the_first(
    project: Project, labelled: list[ComparisonTask], crowd: list[Annotator]
) -> None:
    one = snap(project)
    factories.annotation_make(labelled[0], crowd[1])
    diff = snapshot_diff(one, snap(project))
    assert changes(diff) == [("added", "new label", 1), ("changed", "new label on the same task", 1)]
    assert "became" in diff.changes[1].examples[0]


def test_a_correction_replaces(project: Project, labelled: list[ComparisonTask], crowd: list[Annotator]) -> None:
    one = snap(project)
    first = labelled[0].annotations.get()
    factories.annotation_make(labelled[0], crowd[0], supersedes=first, ranking=[[2], [1], [0]])
    diff = snapshot_diff(one, snap(project))
    assert changes(diff) == [
        ("added", "a correction of an earlier label", 1),
        ("removed", "superseded by a correction", 1),
    ]


@pytest.mark.parametrize("combine", ["pairwise_majority", "soft"])
def test_combined_rows_change_with_their_labels(
    project: Project, labelled: list[ComparisonTask], crowd: list[Annotator], combine: str
) -> None:
    one = snap(project, combine=combine)
    factories.annotation_make(labelled[0], crowd[1], ranking=[[2], [1], [0]])
    factories.annotation_make(labelled[2], crowd[1])
    diff = snapshot_diff(one, snap(project, combine=combine))
    assert changes(diff) == [("added", "new label", 1), ("changed", "new label", 1)]


def test_settled_meanwhile(project: Project, labelled: list[ComparisonTask]) -> None:
    old, fresh = labelled[0].annotations.get(), labelled[1].annotations.get()
    annotation_age(old, 50)
    one = snap(project, minimum_state="accepted")
    annotation_age(fresh, 24.0)
    two = snap(project, minimum_state="accepted")
    assert changes(snapshot_diff(one, two)) == [("added", "settled meanwhile", 1)]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"kinds": ("person",)}, ("removed", "other options: kinds", 1)),
        ({"groups": ("held_out",)}, ("removed", "other options: groups", 1)),
        ({"minimum_state": "accepted"}, ("removed", "other options: settled_hours", 1)),
        ({"splits": ("test",)}, ("removed", "other options: splits", 1)),
        ({"combine": "soft"}, ("removed", "other options: combine", 1)),
        ({"ties": "drop"}, ("changed", "other options: ties", 1)),
    ],
)
def test_other_options_are_named(
    project: Project,
    batch: Batch,
    crowd: list[Annotator],
    annotator: Annotator,
    options: dict[str, Any],
    expected: tuple[str, str, int],
) -> None:
    """A demonstration that all options take is in both, since nothing cannot be frozen."""
    factories.annotation_make(batch.tasks.earliest("pk"), crowd[0], ranking=[[0], [1, 2]])
    Annotator.objects.filter(pk=annotator.pk).update(group="held_out")
    annotation_age(demonstrate(project, annotator), 48)
    everybody = {"groups": ("held_out", "training")}
    diff = snapshot_diff(snap(project, **everybody), snap(project, **everybody | options))
    assert expected in changes(diff)
    assert options.keys() <= {name for name, _, _ in diff.options}
    assert diff.same["demonstrations"] == 1


def test_surplus_and_weights_are_named(
    project: Project, labelled: list[ComparisonTask], crowd: list[Annotator]
) -> None:
    factories.annotation_make(labelled[0], crowd[1], surplus=True)
    one, two = snap(project, include_surplus=True), snap(project)
    surplus = "other options: include_surplus"
    assert changes(snapshot_diff(one, two)) == [("removed", surplus, 1), ("changed", f"{surplus} on the same task", 1)]
    three = snap(project, include_surplus=True, weights={crowd[1].pk: 3})
    assert changes(snapshot_diff(one, three)) == [("changed", "other options: weights", 2)]
    four = snap(project, include_surplus=True, weights={crowd[1].pk: 0})
    weights = "other options: weights"
    assert changes(snapshot_diff(one, four)) == [("removed", weights, 1), ("changed", f"{weights} on the same task", 1)]


def test_another_batch_is_named(
    project: Project, protocol: Protocol, labelled: list[ComparisonTask], crowd: list[Annotator]
) -> None:
    other = batch_labelled_elsewhere(project, protocol, tasks=1)
    factories.annotation_make(other.tasks.get(), crowd[0])
    one, two = snap(project, batches=(labelled[0].batch_id,)), snap(project)
    assert changes(snapshot_diff(one, two)) == [("added", "other options: batches", 1)]
    assert changes(snapshot_diff(two, one)) == [("removed", "other options: batches", 1)]


def demonstrate(project: Project, annotator: Annotator, split: str = "test") -> Demonstration:
    prompt = factories.prompt_make(project, "Which pear is sweet?", split=split)
    return Demonstration.objects.create(prompt=prompt, annotator=annotator, text="The ripe one.", text_hash="1")


def test_demonstrations_and_ratings_have_causes_too(
    project: Project, labelled: list[ComparisonTask], crowd: list[Annotator]
) -> None:
    one = snap(project)
    first = demonstrate(project, crowd[0])
    label = factories.annotation_make(labelled[2], crowd[1], ranking=None)
    Rating.objects.create(annotation=label, slot=0, likert=3)
    two = snap(project)
    Demonstration.objects.create(
        prompt=first.prompt, annotator=crowd[0], text="The soft one.", text_hash="2", supersedes=first
    )
    three = snap(project, ratings=False)
    diff = snapshot_diff(one, two)
    assert changes(diff, "demonstrations") == [("added", "new demonstration", 1)]
    assert changes(diff, "ratings") == [("added", "new label", 1)]
    diff = snapshot_diff(two, three)
    assert changes(diff, "demonstrations") == [
        ("added", "a correction of an earlier one", 1),
        ("removed", "superseded by a correction", 1),
    ]
    assert changes(diff, "ratings") == [("removed", "other options: ratings", 1)]


def test_an_annotator_who_was_moved(project: Project, labelled: list[ComparisonTask], crowd: list[Annotator]) -> None:
    one = snap(project)
    factories.annotation_make(labelled[2], crowd[2])
    Annotator.objects.filter(pk=crowd[0].pk).update(group="held_out")
    diff = snapshot_diff(one, snap(project))
    moved = "the annotator was moved to another group or kind, or the prompt let out of quarantine"
    assert changes(diff) == [("added", "new label", 1), ("removed", moved, 2)]


def test_edited_tags_are_told(project: Project, labelled: list[ComparisonTask]) -> None:
    one = snap(project)
    prompt = labelled[0].prompt
    type(prompt).objects.filter(pk=prompt.pk).update(tags=["garden"])
    assert changes(snapshot_diff(one, snap(project)), "prompts") == [("changed", "its description was changed", 1)]


def test_a_snapshot_from_before_reasons_were_kept_differs_by_nothing_but_labels(
    project: Project, labelled: list[ComparisonTask], crowd: list[Annotator]
) -> None:
    """The columns that only the newer one has could not be the same."""
    factories.annotation_make(labelled[0], crowd[1], rationale="A is best.", order_shown=[0, 1, 2])
    one = first_version(snap(project))
    assert snapshot_diff(one, snap(project)).is_empty
    factories.annotation_make(labelled[2], crowd[1], rationale="B is worst.", order_shown=[2, 1, 0])
    two = snap(project)
    assert changes(snapshot_diff(one, two)) == [("added", "new label", 1)]
    assert changes(snapshot_diff(two, one)) == [("removed", "new label", 1)]


def first_version(snapshot: Snapshot) -> Snapshot:
    """The same labels as they were frozen before comparisons had reasons."""
    given = {"schema_version": 1, "digest": "1" * 64}
    with TemporaryDirectory() as aside:
        folder = Path(aside) / "labels"
        shutil.copytree(snapshot_localise(snapshot), folder)
        table = pq.read_table(folder / "comparisons.parquet")
        pq.write_table(table.drop_columns(["rationale", "shown"]), folder / "comparisons.parquet")
        content = json.dumps(json.loads((folder / "manifest.json").read_text()) | given).encode()
        (folder / "manifest.json").write_bytes(content)
        (folder / "manifest.json.sha256").write_text(f"{hashlib.sha256(content).hexdigest()}  manifest.json\n")
        kept = artifact_publish(path=folder, project=snapshot.project, kind=Artifact.Kind.SNAPSHOT, name="labels")
    facts = {name: getattr(snapshot, name) for name in ("project", "options", "counts", "as_of")}
    return Snapshot.objects.create(digest=given["digest"], folder=kept, **facts)


def test_a_damaged_snapshot_is_not_compared(project: Project, labelled: list[ComparisonTask], tmp_path: Path) -> None:
    one = snap(project)
    for path in (tmp_path / "artifacts").rglob("*"):
        if path.is_file():
            path.write_bytes(b"")
    with pytest.raises(DomainError, match="damaged"):
        snapshot_diff(one, one)
