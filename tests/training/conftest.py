"""A project with frozen labels and a base model, and a place for runs."""

import json
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django.fixtures import Settings

import labelapp.training.tasks  # noqa: F401 (registers the handlers, as in a worker)
from labelapp.artifacts.services import artifact_publish
from labelapp.models import Artifact, ModelVersion, Project, Run, RunKind, Snapshot
from labelapp.training.services import run_start
from tests.factories import reward_make
from tests.jobs.trainers import stand_in
from trainer.data.snapshots import snapshot_write

PEARS = ["In late winter, above a bud.", "Never.", "Take a saw and hope.", "Ask the pear."]


def snapshot_folder(folder: Path, prompts: int = 12) -> str:
    """Write a snapshot of four completions per prompt, ranked in their order; return its digest."""
    ranked = [
        {"i": i, "j": j, "outcome": ">", "strength": None, "weight": 1.0} for i in range(4) for j in range(i + 1, 4)
    ]
    rows = range(1, prompts + 1)
    split = {number: "train" if number <= prompts * 3 // 4 else "validation" for number in rows}
    manifest = snapshot_write(
        folder,
        options={},
        tables={
            "prompts": [
                {
                    **{"prompt": n, "messages": [{"role": "user", "content": f"How do I prune pear tree {n}?"}]},
                    **{"split": split[n], "source": "", "language": "en", "tags": []},
                }
                for n in rows
            ],
            "completions": [
                {"completion": 10 * n + slot, "prompt": n, "model": "tiny", "text": text, "finish_reason": "stop"}
                for n in rows
                for slot, text in enumerate(PEARS)
            ],
            "comparisons": [
                {
                    **{"comparison": f"c{n}", "task": n, "prompt": n, "annotator": "a", "group": "training"},
                    **{"protocol": 1, "completions": [10 * n + slot for slot in range(4)], "edges": ranked},
                    **{"ranking": [[0], [1], [2], [3]], "weight": 1.0},
                }
                for n in rows
            ],
        },
        as_of="2026-01-01T00:00:00+00:00",
        counts={},
        protocols={},
        annotators={},
    )
    return manifest["digest"]


@pytest.fixture
def places(tmp_path: Path, settings: Settings) -> Path:
    """Runs and artifacts of this test alone."""
    settings.RUN_ROOT, settings.ARTIFACT_ROOT = tmp_path / "runs", tmp_path / "artifacts"
    settings.FILE_UPLOAD_TEMP_DIR = tmp_path / "uploads"
    settings.TRAINER_COMMAND = stand_in()
    return tmp_path


@pytest.fixture
def snapshot(project: Project, places: Path) -> Snapshot:
    digest = snapshot_folder(places / "frozen")
    folder = artifact_publish(path=places / "frozen", project=project, kind=Artifact.Kind.SNAPSHOT, name="labels")
    return Snapshot.objects.create(
        project=project, digest=digest, options={}, counts={}, folder=folder, as_of=timezone.now()
    )


@pytest.fixture
def base(project: Project, places: Path) -> ModelVersion:
    (places / "base").mkdir()
    (places / "base/config.json").write_text("{}")
    return ModelVersion.objects.create(
        project=project, name="base", kind="base", state="ready", location=str(places / "base")
    )


@pytest.fixture
def training(project: Project, snapshot: Snapshot, base: ModelVersion) -> Run:
    """A run of a reward model that waits for a worker."""
    return run_start(
        project=project,
        kind=RunKind.REWARD,
        name="Rewards",
        snapshot=snapshot,
        start=base,
        options={"epochs": 2},
        created_by=None,
    )


def tokens_folder(places: Path, name: str, vocabulary: dict[str, int] | None = None) -> str:
    """A model's folder with a tokenizer of these tokens."""
    folder = places / name
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_text(
        json.dumps({"added_tokens": [{"id": 2, "content": "<s>"}], "model": {"vocab": vocabulary or {"a": 0, "b": 1}}})
    )
    return str(folder)


@pytest.fixture
def rewards(project: Project, places: Path) -> list[ModelVersion]:
    """Three reward models of the same tokens, that lie on this machine."""
    return [reward_make(project, name, location=tokens_folder(places, name)) for name in ("Help", "Safe", "Short")]
