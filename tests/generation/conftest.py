"""Models to sample from, and a trainer that needs no torch."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pytest_django import Settings

import labelapp.generation.tasks  # noqa: F401 (registers the handler, as in a worker)
from labelapp.generation.model_versions import model_version_base
from labelapp.generation.sampling import SampleChoice, completions_sample
from labelapp.jobs.execution import job_execute
from labelapp.jobs.registry import JobRun
from labelapp.jobs.services import job_claim
from labelapp.models import Completion, Job, ModelVersion, Project, Prompt
from tests.factories import prompt_make

FAKE = [sys.executable, str(Path(__file__).with_name("fake_trainer.py"))]
MakeModel = Callable[..., ModelVersion]


@pytest.fixture(autouse=True)
def places(settings: Settings, tmp_path: Path) -> None:
    settings.TRAINER_COMMAND = FAKE
    settings.RUN_ROOT = tmp_path / "runs"
    settings.ARTIFACT_ROOT = tmp_path / "artifacts"


@pytest.fixture
def make_model(project: Project, tmp_path: Path) -> MakeModel:
    """Makes a model folder that tells the stand-in how to behave, and registers it."""

    def make(name: str = "tiny", **behaviour: Any) -> ModelVersion:
        folder = tmp_path / "models" / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(behaviour))
        return model_version_base(project=project, name=name, location=str(folder), actor=None)

    return make


def prompts_make(project: Project, number: int, **fields: Any) -> list[Prompt]:
    return [prompt_make(project, f"{project.slug} question {index} {fields}?", **fields) for index in range(number)]


def sample(*models: ModelVersion, n: int = 2, choice: SampleChoice | None = None, **more: Any) -> Job:
    """A waiting job of these models."""
    return completions_sample(
        project=models[0].project,
        model_versions=models,
        choice=choice or SampleChoice(),
        options={"n": n},
        created_by=None,
        **more,
    )


def claimed(job: Job) -> JobRun:
    run = job_claim(job.pk)
    assert run is not None
    return run


def do(job: Job) -> Job:
    """What a worker does with a waiting job."""
    job_execute(claimed(job))
    job.refresh_from_db()
    return job


def brought(job: Job) -> list[tuple[int, int, str]]:
    """Prompt, model and number in the key of each completion of a job."""
    rows = Completion.objects.filter(sampled_by=job).values_list("prompt_id", "model_version_id", "source_key")
    return sorted((prompt, model, key.removeprefix(f"{job.pk}:")) for prompt, model, key in rows)


def wanted(job: Job, prompts: list[Prompt], *models: ModelVersion, n: int = 2) -> list[tuple[int, int, str]]:
    """What `brought` says when each of the models has answered each of the prompts n times."""
    return sorted((prompt.pk, model.pk, str(index)) for prompt in prompts for model in models for index in range(n))
