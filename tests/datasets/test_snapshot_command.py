"""`manage.py snapshot`."""

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from labelapp.models import Annotator, Batch, Project, Protocol, Snapshot
from tests import factories
from tests.datasets.freezing import batch_labelled_elsewhere
from trainer.data import snapshots

pytestmark = pytest.mark.usefixtures("own_folders")


@pytest.fixture
def crowd(project: Project) -> Annotator:
    return factories.external_make(project)


@pytest.fixture
def batch(project: Project, protocol: Protocol, crowd: Annotator) -> Batch:
    """Two tasks, one of them labelled."""
    batch = batch_labelled_elsewhere(project, protocol)
    factories.annotation_make(batch.tasks.earliest("pk"), crowd, ranking=[[0], [1, 2]])
    return batch


def said(*words: str) -> list[str]:
    out = io.StringIO()
    call_command("snapshot", *words, stdout=out)
    return out.getvalue().splitlines()


def freeze(*words: str) -> list[str]:
    return said("freeze", "--project", "garden-helper", "--settled-hours", "0", *words)


def test_it_freezes_and_sums_up(project: Project, batch: Batch, crowd: Annotator) -> None:
    label = batch.tasks.earliest("pk").annotations.get()
    factories.annotation_make(batch.tasks.earliest("pk"), crowd, supersedes=label)
    lines = freeze()
    snapshot = Snapshot.objects.get()
    assert lines[0].startswith("Freezing the labels of Garden helper (job ")
    assert snapshot.digest[:12] in lines[-3]
    assert "1 comparisons, 0 ratings, 0 demonstrations; 3 strict pairs, 0 ties" in lines[-3]
    assert lines[-2] == "  left out: 1 corrected by a newer one"
    folder = Path(lines[-1].removeprefix("Folder: "))
    assert snapshots.snapshot_read(folder).manifest["digest"] == snapshot.digest
    assert "Nothing has changed: these labels were frozen before." in freeze()
    assert Snapshot.objects.count() == 1


def test_options_reach_the_snapshot(project: Project, batch: Batch, crowd: Annotator) -> None:
    words = [
        "--batch",
        str(batch.pk),
        "--split",
        "train",
        "--group",
        "training",
        "--kind",
        "external",
        "--ties",
        "drop",
    ]
    freeze(*words, "--combine", "soft", "--weight", "crowd-1 0.5", "--include-surplus", "--no-ratings")
    options = Snapshot.objects.get().options
    assert (options["batches"], options["splits"], options["kinds"]) == ([batch.pk], ["train"], ["external"])
    assert (options["combine"], options["ties"], options["include_surplus"]) == ("soft", "drop", True)
    assert (options["ratings"], options["demonstrations"]) == (False, True)
    assert list(options["weights"].values()) == [0.5]


def test_nothing_to_freeze_fails_and_says_why(project: Project, batch: Batch) -> None:
    with pytest.raises(CommandError, match="1 too fresh"):
        said("freeze", "--project", "Garden helper")
    assert said("list", "--project", "garden-helper") == ["Garden helper has no snapshots yet."]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--batch", "999"), "This project has no batch 999."),
        (("--weight", "nobody 1"), "Nobody in this project is called “nobody”."),
        (("--settled-hours", "-1"), "settled_hours: it must be from 0"),
    ],
)
def test_bad_options_are_answered_plainly(project: Project, batch: Batch, words: tuple[str, ...], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        freeze(*words)


def test_list_and_diff(project: Project, batch: Batch, crowd: Annotator) -> None:
    freeze()
    factories.annotation_make(batch.tasks.latest("pk"), crowd)
    freeze()
    second, first = Snapshot.objects.order_by("-pk")
    listed = said("list", "--project", "garden-helper")
    assert [line.split()[0] for line in listed] == [second.digest[:12], first.digest[:12]]
    lines = said("diff", "--project", "garden-helper", first.digest[:10], second.digest)
    assert lines[0] == "comparisons added: 1, new label"
    assert lines[-1] == "The same: 1 comparisons, 0 ratings, 0 demonstrations, 1 prompts, 3 completions."


def test_a_digest_must_be_known_and_clear(project: Project, batch: Batch) -> None:
    freeze()
    known = Snapshot.objects.get()
    twin = known.digest[:6] + "".join("1" if digit != "1" else "2" for digit in known.digest[6:])
    Snapshot.objects.create(project=project, digest=twin, options={}, counts={}, folder=known.folder, as_of=known.as_of)
    diff = ["diff", "--project", "garden-helper", known.digest[:8]]
    with pytest.raises(CommandError, match=f"2 snapshots begin with “{known.digest[:6]}”"):
        said(*diff, known.digest[:6])
    missing = "0000" if not known.digest.startswith("0000") else "1111"
    with pytest.raises(CommandError, match=f"begins with “{missing}”. There are "):
        said(*diff, missing)
    with pytest.raises(CommandError, match="is no beginning of a digest"):
        said(*diff, "newest")


def test_an_unknown_project_is_answered_with_those_there_are(project: Project) -> None:
    with pytest.raises(CommandError, match=r"There is no project “orchard”\. There are: garden-helper\."):
        said("list", "--project", "orchard")
