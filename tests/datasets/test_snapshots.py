"""Freezing labels: which are taken, how they look, and that a snapshot is what it says."""

from pathlib import Path
from typing import Any

import pytest

from labelapp.datasets.freeze_options import FreezeOptions
from labelapp.datasets.snapshots import snapshot_freeze, snapshot_localise
from labelapp.errors import DomainError
from labelapp.models import (
    Annotation,
    Annotator,
    AnnotatorKey,
    Artifact,
    AuditEntry,
    Batch,
    ComparisonTask,
    Job,
    Project,
    Protocol,
    Rating,
    Snapshot,
    TaskCompletion,
    User,
)
from tests import factories
from tests.datasets.freezing import batch_labelled_elsewhere, freeze, frozen, left_out

pytestmark = pytest.mark.usefixtures("own_folders")


def test_a_label_becomes_a_row(project: Project, task: ComparisonTask, crowd: list[Annotator]) -> None:
    annotation = factories.annotation_make(task, crowd[0], ranking=[[2], [0, 1]])
    snapshot = frozen(project)
    [row] = snapshot.comparisons
    key = AnnotatorKey.objects.get(annotator=crowd[0]).key
    ids = list(TaskCompletion.objects.filter(task=task).order_by("slot").values_list("completion", flat=True))
    assert row == {
        "comparison": f"{task.pk:012d}-{annotation.pk:012d}",
        "task": task.pk,
        "prompt": task.prompt_id,
        "annotator": key,
        "group": "training",
        "protocol": task.batch.protocol_id,
        "completions": ids,
        "edges": [
            {"i": 2, "j": 0, "outcome": ">", "strength": None, "weight": 1.0},
            {"i": 2, "j": 1, "outcome": ">", "strength": None, "weight": 1.0},
            {"i": 0, "j": 1, "outcome": "=", "strength": None, "weight": 1.0},
        ],
        "ranking": [[2], [0, 1]],
        "weight": 1.0,
        "rationale": "",
        "shown": [],
    }
    assert snapshot.prompts[task.prompt_id]["messages"] == task.prompt.messages
    assert sorted(snapshot.completions) == sorted(ids)
    assert snapshot.manifest["annotators"] == {key: {"kind": "external", "group": "training"}}
    described = snapshot.manifest["protocols"][str(task.batch.protocol_id)]
    assert (described["name"], described["version"], described["scale"]["likert_points"]) == ("Helpfulness", 1, 7)
    assert [question["key"] for question in described["questions"]] == ["harmful", "constraint", "ambiguous"]


def test_a_row_has_the_reasons_and_the_order_in_which_its_annotator_saw_the_completions(
    project: Project, task: ComparisonTask, crowd: list[Annotator]
) -> None:
    """Two answers with the same text share a slot, of which the first stands in the row."""
    twin = task.task_completions.get(slot=1).completion
    twin.pk, twin.source_key = None, "twin"
    twin.save()
    TaskCompletion.objects.create(task=task, completion=twin, slot=1)
    given = {"rationale": "B is out of date.\nA 说得更清楚。", "order_shown": [2, 0, 1]}
    factories.annotation_make(task, crowd[0], ranking=[[0], [1], [2]], **given)
    factories.annotation_make(task, crowd[1], ranking=[[1], [0], [2]], order_shown=[1, 2, 0])
    first, second = frozen(project).comparisons
    ids = first["completions"]
    assert twin.pk not in ids
    assert (first["rationale"], first["shown"]) == (given["rationale"], [ids[2], ids[0], ids[1]])
    assert (second["rationale"], second["shown"]) == ("", [ids[1], ids[2], ids[0]])


@pytest.mark.parametrize("combine", ["pairwise_majority", "soft"])
def test_a_row_of_several_annotators_has_nobodys_reasons(
    project: Project, batch: Batch, crowd: list[Annotator], combine: str
) -> None:
    several, alone = batch.tasks.order_by("pk")
    given = {"rationale": "A is best.", "order_shown": [0, 2, 1]}
    for annotator in crowd[:2]:
        factories.annotation_make(several, annotator, **given)
    factories.annotation_make(alone, crowd[0], **given)
    first, second = frozen(project, combine=combine).comparisons
    assert (first["rationale"], first["shown"]) == ("", [])
    ids = second["completions"]
    assert (second["rationale"], second["shown"]) == ("A is best.", [ids[0], ids[2], ids[1]])


def test_a_protocol_says_which_answers_weigh(project: Project, task: ComparisonTask, crowd: list[Annotator]) -> None:
    """What tells good completions from bad ones must be there without the database."""
    factories.annotation_make(task, crowd[0])
    [described] = frozen(project).manifest["protocols"].values()
    harmful = described["questions"][0]
    assert (harmful["scope"], harmful["polarity"], harmful["severity"]) == ("completion", "bad", "severe")


def test_nobody_is_named(project: Project, task: ComparisonTask, annotator: Annotator, tmp_path: Path) -> None:
    factories.annotation_make(task, annotator, surplus=False)
    path = snapshot_localise(Snapshot.objects.get(pk=freeze(project).result["snapshot"]))
    content = b"".join(file.read_bytes() for file in path.iterdir()).lower()
    assert b"lena" not in content
    assert AnnotatorKey.objects.get().key.encode() in (path / "manifest.json").read_bytes()


def test_counts_say_what_is_in_it(project: Project, batch: Batch, crowd: list[Annotator]) -> None:
    for task in batch.tasks.all():
        factories.annotation_make(task, crowd[0], ranking=[[0], [1, 2]])
    counts = frozen(project).manifest["counts"]
    assert counts["edges"] == {"strict": 4, "ties": 2}
    assert counts["splits"] == {
        name: {"train": n} for name, n in {"comparisons": 2, "completions": 6, "prompts": 2}.items()
    }
    assert (counts["labels"], counts["left_out"], counts["comparisons"]) == (2, {}, 2)


def test_a_label_without_an_order_makes_no_comparison_but_its_ratings_come_along(
    project: Project, task: ComparisonTask, crowd: list[Annotator]
) -> None:
    annotation = factories.annotation_make(task, crowd[0], ranking=None)
    Rating.objects.create(annotation=annotation, slot=1, likert=6, answers={"harmful": "no", "constraint": None})
    Rating.objects.create(annotation=annotation, slot=0)
    snapshot = frozen(project)
    assert snapshot.comparisons == []
    assert left_out(snapshot) == {"no_edges": 1}
    completion = TaskCompletion.objects.get(task=task, slot=1).completion_id
    assert snapshot.ratings == [
        {
            "comparison": f"{task.pk:012d}-{annotation.pk:012d}",
            "prompt": task.prompt_id,
            "completion": completion,
            "annotator": AnnotatorKey.objects.get().key,
            "likert": 6,
            "likert_points": 7,
            "protocol": task.batch.protocol_id,
            "answers": '{"constraint":null,"harmful":"no"}',
        }
    ]


def test_weights_share_a_task_among_its_labels(project: Project, task: ComparisonTask, crowd: list[Annotator]) -> None:
    for external in crowd:
        factories.annotation_make(task, external)
    snapshot = frozen(project, weights={crowd[0].pk: 0.5, crowd[1].pk: 0})
    keys = dict(AnnotatorKey.objects.values_list("annotator", "key"))
    weights = {row["annotator"]: row["weight"] for row in snapshot.comparisons}
    assert weights == {keys[crowd[0].pk]: pytest.approx(1 / 3), keys[crowd[2].pk]: pytest.approx(2 / 3)}
    assert left_out(snapshot) == {"weight": 1}
    assert snapshot.manifest["options"]["weights"] == {keys[crowd[0].pk]: 0.5, keys[crowd[1].pk]: 0.0}


@pytest.mark.parametrize(
    ("combine", "edges"),
    [
        ("pairwise_majority", [(0, 1, ">", 1.0), (0, 2, ">", 1.0), (1, 2, "=", 1.0)]),
        ("soft", [(0, 1, ">", 1.0), (0, 2, ">", 1.0), (1, 2, ">", 0.5), (2, 1, ">", 0.5)]),
    ],
)
def test_labels_of_a_task_combine_into_one_row(
    project: Project, task: ComparisonTask, crowd: list[Annotator], combine: str, edges: list[tuple[Any, ...]]
) -> None:
    factories.annotation_make(task, crowd[0], ranking=[[0], [1], [2]])
    factories.annotation_make(task, crowd[1], ranking=[[0], [2], [1]])
    [row] = frozen(project, combine=combine).comparisons
    assert [(e["i"], e["j"], e["outcome"], e["weight"]) for e in row["edges"]] == edges
    assert (row["comparison"], row["annotator"], row["group"], row["weight"]) == (f"{task.pk:012d}", "", "training", 1)


def test_ties_stay_or_go(project: Project, batch: Batch, crowd: list[Annotator]) -> None:
    mixed, tied = batch.tasks.order_by("pk")
    factories.annotation_make(mixed, crowd[0], ranking=[[0], [1, 2]])
    factories.annotation_make(tied, crowd[0], ranking=[[0, 1, 2]])
    assert len(frozen(project).comparisons) == 2
    snapshot = frozen(project, ties="drop")
    [row] = snapshot.comparisons
    assert (row["task"], row["ranking"], len(row["edges"])) == (mixed.pk, None, 2)
    assert left_out(snapshot) == {"ties_only": 1}


def test_identical_completions_are_one(project: Project, protocol: Protocol, crowd: list[Annotator]) -> None:
    prompt = factories.prompt_make(project)
    same = [factories.completion_make(prompt, "Never.") for _ in range(2)]
    other = factories.completion_make(prompt, "In winter.")
    batch = Batch.objects.create(project=project, protocol=protocol, name="Same")
    task = ComparisonTask.objects.create(
        batch=batch, prompt=prompt, overlap=0, completions_key="k", selection_rule="test", selection_probability=1
    )
    for completion, slot in ((same[1], 0), (other, 1), (same[0], 0)):
        TaskCompletion.objects.create(task=task, completion=completion, slot=slot)
    factories.annotation_make(task, crowd[0], ranking=[[1], [0]])
    snapshot = frozen(project)
    assert snapshot.comparisons[0]["completions"] == [same[0].pk, other.pk]
    assert sorted(snapshot.completions) == [same[0].pk, other.pk]


def test_one_completion_is_no_comparison(project: Project, protocol: Protocol, crowd: list[Annotator]) -> None:
    task = batch_labelled_elsewhere(project, protocol, tasks=1, k=1).tasks.get()
    Rating.objects.create(annotation=factories.annotation_make(task, crowd[0]), slot=0, likert=2)
    snapshot = frozen(project)
    assert (snapshot.comparisons, len(snapshot.ratings)) == ([], 1)
    assert left_out(snapshot) == {"one_completion": 1}


def test_the_same_labels_are_one_snapshot(
    project: Project, task: ComparisonTask, crowd: list[Annotator], omar: User
) -> None:
    factories.annotation_make(task, crowd[0])
    first, second = freeze(project), freeze(project)
    assert second.result["snapshot"] == first.result["snapshot"]
    assert (first.result["known"], second.result["known"]) == (False, True)
    assert Snapshot.objects.get().job == first
    assert Artifact.objects.filter(kind="snapshot").count() == 1
    assert AuditEntry.objects.filter(verb="snapshot_freeze").count() == 1
    assert freeze(project, splits=("train",)).result["digest"] != first.result["digest"]


def test_the_order_of_options_is_no_matter(project: Project, task: ComparisonTask, crowd: list[Annotator]) -> None:
    factories.annotation_make(task, crowd[0])
    one = freeze(project, splits=("test", "train"), groups=("held_out", "training"), weights={crowd[1].pk: 1})
    two = freeze(project, splits=("train", "test"), groups=("training", "held_out"), settled_hours=3)
    assert one.result["digest"] == two.result["digest"]


@pytest.mark.parametrize(
    "name", [*(f"{table}.parquet" for table in ("prompts", "completions", "comparisons", "ratings", "demonstrations")),
             "manifest.json", "manifest.json.sha256"]
)  # fmt: skip
def test_a_changed_byte_in_any_file_is_refused(
    project: Project, task: ComparisonTask, crowd: list[Annotator], name: str
) -> None:
    factories.annotation_make(task, crowd[0])
    snapshot = Snapshot.objects.get(pk=freeze(project).result["snapshot"])
    path = snapshot_localise(snapshot) / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(DomainError, match=name.replace(".", r"\.")):
        snapshot_localise(snapshot)


def test_nothing_to_freeze_says_why(
    project: Project, task: ComparisonTask, crowd: list[Annotator], tmp_path: Path
) -> None:
    assert freeze(project).message == "There is nothing to freeze: nobody has labelled anything yet."
    factories.annotation_make(task, crowd[0])
    job = freeze(project, minimum_state="accepted")
    assert "1 too fresh" in job.message
    assert not Snapshot.objects.exists()
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"batches": (999,)}, "no batch 999"),
        ({"rounds": (3,)}, "no round 3"),
        ({"weights": {999: 1.0}}, "no annotator 999"),
    ],
)
def test_options_that_name_what_is_not_there_are_refused_at_once(
    project: Project, omar: User, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(DomainError, match=said):
        snapshot_freeze(project=project, options=FreezeOptions(**options), created_by=omar)
    assert not Job.objects.exists()


def test_labels_of_other_projects_stay_there(project: Project, task: ComparisonTask, crowd: list[Annotator]) -> None:
    factories.annotation_make(task, crowd[0])
    other = Project.objects.create(name="Other", slug="other")
    assert freeze(other).state == Job.State.FAILED
    assert Annotation.objects.count() == 1
