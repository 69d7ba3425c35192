"""The sampling job with the real trainer and real, if tiny, models."""

from pathlib import Path

import pytest
from pytest_django import Settings

from labelapp.artifacts.services import artifact_publish
from labelapp.generation.model_versions import model_version_base
from labelapp.generation.sampling import SampleChoice, completions_sample
from labelapp.models import Artifact, Completion, Job, ModelVersion, Project
from labelapp.settings import TRAINER_COMMAND
from tests.generation.conftest import brought, do, prompts_make, wanted

pytest.importorskip("torch", reason="torch is not installed", exc_type=ImportError)
pytest.importorskip("transformers", reason="transformers is not installed")

from tests.trainer.models import STORIES, tiny_gpt2, tiny_llama


@pytest.fixture(autouse=True)
def real_trainer(places: None, settings: Settings) -> None:
    settings.TRAINER_COMMAND = TRAINER_COMMAND


def sampled(project: Project, *models: ModelVersion, max_tokens: int = 12) -> Job:
    return do(
        completions_sample(
            project=project,
            model_versions=models,
            choice=SampleChoice(),
            options={"n": 2, "max_tokens": max_tokens, "seed": 3, "dtype": "float32"},
            created_by=None,
        )
    )


def test_two_tiny_models_write_the_completions_of_the_same_prompts(project: Project, tmp_path: Path) -> None:
    prompts = prompts_make(project, 2)
    weights = artifact_publish(
        path=tiny_llama(tmp_path / "llama"), project=project, kind=Artifact.Kind.MODEL, name="llama"
    )
    trained = ModelVersion.objects.create(project=project, name="sft", kind="sft", state="ready", weights=weights)
    base = model_version_base(project=project, name="gpt2", location=str(tiny_gpt2(tmp_path / "gpt2")), actor=None)
    job = sampled(project, trained, base)
    assert job.state == Job.State.SUCCEEDED, f"{job.message}\n{job.error}\n{job.result}"
    assert brought(job) == wanted(job, prompts, trained, base)
    assert set(Completion.objects.values_list("seed", flat=True)) == {3}
    assert {report["completions"] for report in job.result["models"]} == {4}


@pytest.mark.skipif(not STORIES.is_dir(), reason=f"there is no {STORIES}")
def test_a_real_little_model_writes_words(project: Project) -> None:
    prompts_make(project, 2)
    stories = model_version_base(project=project, name="stories", location=str(STORIES), actor=None)
    job = sampled(project, stories, max_tokens=40)
    assert job.state == Job.State.SUCCEEDED, f"{job.message}\n{job.result}"
    texts = list(Completion.objects.values_list("text", flat=True))
    assert sum(len(text.split()) for text in texts) > 40
    assert set(Completion.objects.values_list("finish_reason", flat=True)) <= {"stop", "length"}


def test_a_folder_that_holds_no_model_is_told_in_words(project: Project, tmp_path: Path) -> None:
    folder = tmp_path / "nothing"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    prompts_make(project, 1)
    job = sampled(project, model_version_base(project=project, name="nothing", location=str(folder), actor=None))
    assert job.state == Job.State.FAILED
    assert "The trainer cannot use what it was given" in job.message
    assert f"No tokenizer can be loaded from {folder}" in job.result["log"]
