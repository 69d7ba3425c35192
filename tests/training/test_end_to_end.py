"""The real trainer, on a random Llama of two layers: from frozen labels to a reward model that scores."""

import shutil
import sys
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from labelapp.artifacts.services import artifact_localise
from labelapp.jobs.registry import JobCancelledError
from labelapp.models import CompletionScore, Job, ModelVersion, Project, Run, RunEvent, RunKind, Snapshot
from labelapp.training.handlers import run_train
from labelapp.training.scoring import completions_score
from labelapp.training.services import run_folder, run_resume, run_start
from tests.factories import prompt_with_completions
from tests.training.test_handlers import claim, steps_of, work

pytest.importorskip("torch")
pytest.importorskip("transformers")

pytestmark = pytest.mark.services

SMALL = {"epochs": 3, "prompts_per_step": 3, "learning_rate": 1e-3, "max_length": 128, "dtype": "float32"}


@pytest.fixture
def llama(base: ModelVersion, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> ModelVersion:
    """The base model, with weights."""
    from tests.trainer.models import tiny_llama

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    shutil.rmtree(base.location)
    tiny_llama(Path(base.location))
    settings.TRAINER_COMMAND = [sys.executable, "-m", "trainer"]
    return base


def start(project: Project, kind: RunKind, snapshot: Snapshot, model: ModelVersion, **options: object) -> Run:
    return run_start(
        project=project,
        kind=kind,
        name=f"{kind} 1",
        snapshot=snapshot,
        start=model,
        options={**SMALL, **options},
        created_by=None,
    )


def test_a_reward_model_is_trained_and_scores(project: Project, snapshot: Snapshot, llama: ModelVersion) -> None:
    run = start(project, RunKind.REWARD, snapshot, llama)
    job = work(run.job)
    assert job.state == Job.State.SUCCEEDED, f"{job.message} {job.error} {job.result}"
    assert steps_of(run) == list(range(1, 10))
    run.refresh_from_db()
    assert "metrics" in run.report
    model = run.result
    assert model is not None
    assert model.weights is not None
    assert (artifact_localise(model.weights, verify=True) / "model.safetensors").is_file()
    prompt_with_completions(project, k=3)
    scoring = work(completions_score(reward=model, project=project, created_by=None))
    assert scoring.state == Job.State.SUCCEEDED, f"{scoring.message} {scoring.error} {scoring.result}"
    assert CompletionScore.objects.count() == 3
    assert len(set(CompletionScore.objects.values_list("score", flat=True))) == 3


def test_a_stopped_training_goes_on_to_the_same_end(project: Project, snapshot: Snapshot, llama: ModelVersion) -> None:
    """The log of a run that was stopped at step 2 and resumed is that of one that was not, digit for digit."""
    long = {"checkpoint_every": 1, "prompts_per_step": 1, "epochs": 12}
    run = start(project, RunKind.REWARD, snapshot, llama, **long)
    attempt = claim(run.job)
    attempt = type(attempt)(job=attempt.job, attempt=attempt.attempt, listener=Stopper(2))
    with pytest.raises(JobCancelledError):
        run_train(attempt)
    Job.objects.filter(pk=run.job_id).update(state="cancelled", finished_at=run.created_at)
    assert list((run_folder(run) / "checkpoints").glob("step-*"))
    assert not (run_folder(run) / "report.json").exists()
    job = work(run_resume(run=run, actor=None))
    assert job.state == Job.State.SUCCEEDED, f"{job.message} {job.error} {job.result}"
    assert steps_of(run) == list(range(1, 109))
    Run.objects.filter(pk=run.pk).update(name="stopped")
    ModelVersion.objects.filter(made_by=run).update(name="stopped")
    whole = start(project, RunKind.REWARD, snapshot, llama, **long)
    work(whole.job)
    assert logged(whole) == logged(run)


class Stopper:
    """Stops the worker's side once a step is reached."""

    def __init__(self, step: int) -> None:
        self.step = step

    def __call__(self, message: str | None, done: int | None, total: int | None) -> None:
        if done is not None and done >= self.step:
            raise JobCancelledError


def logged(run: Run) -> list[tuple[str, int, dict[str, float]]]:
    return list(RunEvent.objects.filter(run=run).order_by("kind", "step").values_list("kind", "step", "values"))


def test_bad_input_is_told_in_the_trainers_words(project: Project, snapshot: Snapshot, llama: ModelVersion) -> None:
    run = start(project, RunKind.REWARD, snapshot, llama, max_length=8)
    job = work(run.job)
    assert job.state == Job.State.FAILED
    assert job.message.startswith("The trainer cannot use what it was given.")
