"""Files to import, and what an import leaves behind."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

from labelapp.artifacts.services import artifact_write
from labelapp.datasets import tasks  # noqa: F401 (registers the job handler)
from labelapp.datasets.services import import_begin
from labelapp.jobs.execution import job_execute
from labelapp.jobs.registry import JobRun
from labelapp.models import (
    Annotation,
    Annotator,
    Artifact,
    Batch,
    ComparisonTask,
    Completion,
    Demonstration,
    Job,
    ModelVersion,
    Project,
    Prompt,
    Protocol,
    Rating,
    TaskCompletion,
)
from tests import factories
from tests.datasets.freezing import batch_labelled_elsewhere

TABLES = (
    *(Annotation, Annotator, Batch, ComparisonTask, Completion, Demonstration, ModelVersion, Prompt, Protocol),
    *(Rating, TaskCompletion),
)
PEAR = "How do I prune a pear tree?"
Begin = Callable[..., JobRun]
Import = Callable[..., Job]


def jsonl(rows: Iterable[Any]) -> bytes:
    """Rows as a file; text stands for itself."""
    return b"".join((row if isinstance(row, str) else json.dumps(row)).encode() + b"\n" for row in rows)


def completion(name: str, text: str = "", model: str | None = "tiny-1", **fields: Any) -> dict[str, Any]:
    return {"id": name, "text": text or f"Answer {name}", "model": model, **fields}


def labelled_row(prompt: str = PEAR, **fields: Any) -> dict[str, Any]:
    """A prompt with completions a, b and c."""
    return {"prompt": prompt, "completions": [completion(name) for name in "abc"], **fields}


def prompts(count: int, start: int = 0) -> list[dict[str, Any]]:
    """Different rows with a completion each, every tenth with a ranking and a demonstration."""
    return [
        labelled_row(
            f"Question {number}",
            id=number,
            rankings=[{"annotator": "ann", "order": ["a", ["b", "c"]]}] if number % 10 == 0 else [],
            demonstrations=[{"annotator": "bob", "text": f"Mine {number}"}] if number % 10 == 0 else [],
        )
        for number in range(start, start + count)
    ]


def table_counts() -> dict[str, int]:
    """Rows in every table that imports write, but for files and jobs."""
    return {table.__name__: table.objects.count() for table in TABLES}


def contents() -> dict[str, list[tuple[Any, ...]]]:
    """What an import left behind, without the numbers that the database gives out."""
    return {
        "prompts": sorted(Prompt.objects.values_list("content_hash", "external_id", "split")),
        "completions": sorted(
            Completion.objects.values_list("prompt__content_hash", "model_version__name", "source_key", "text")
        ),
        "annotations": sorted(
            (*row[:2], str(row[2:]))
            for row in Annotation.objects.values_list(
                "task__prompt__content_hash", "annotator__name", "edges", "ranking"
            )
        ),
        "demonstrations": sorted(Demonstration.objects.values_list("prompt__content_hash", "annotator__name", "text")),
    }


@pytest.fixture
def own_folders(settings: Settings, tmp_path: Path) -> None:
    """What is written stays in the test's own folder."""
    settings.ARTIFACT_ROOT, settings.RUN_ROOT = tmp_path / "artifacts", tmp_path / "runs"


@pytest.fixture
def crowd(project: Project) -> list[Annotator]:
    """Three people elsewhere."""
    return [factories.external_make(project, f"crowd-{number}") for number in range(3)]


@pytest.fixture
def batch(project: Project, protocol: Protocol) -> Batch:
    """Two tasks of three completions that anybody may have labelled."""
    return batch_labelled_elsewhere(project, protocol, tasks=2, k=3)


@pytest.fixture
def task(batch: Batch) -> ComparisonTask:
    return batch.tasks.earliest("pk")


@pytest.fixture
def begin(project: Project) -> Begin:
    """Claim the import of some rows, or of any content."""

    def begin(rows: Iterable[Any] = (), *, content: bytes | None = None, strict: bool = False) -> JobRun:
        artifact = artifact_write(
            chunks=[jsonl(rows) if content is None else content],
            project=project,
            kind=Artifact.Kind.UPLOAD,
            name="rows.jsonl",
        )
        return import_begin(project=project, artifact=artifact, strict=strict)

    return begin


@pytest.fixture
def bring(begin: Begin) -> Import:
    """Import some rows and return the job as it ended."""

    def bring(*args: Any, **kwargs: Any) -> Job:
        run = begin(*args, **kwargs)
        job_execute(run)
        return Job.objects.get(pk=run.job.pk)

    return bring


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write rows to a file."""

    def write(rows: Iterable[Any], name: str = "rows.jsonl") -> Path:
        path = tmp_path / name
        path.write_bytes(jsonl(rows))
        return path

    return write
