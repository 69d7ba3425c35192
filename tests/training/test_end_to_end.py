"""The real trainer, on a random Llama of two layers: from frozen labels to a reward model that scores."""

import shutil
import sys
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from labelapp.artifacts.services import artifact_localise, artifact_publish
from labelapp.errors import DomainError
from labelapp.jobs.registry import JobCancelledError
from labelapp.models import Artifact, CompletionScore, Job, ModelVersion, Project, Run, RunEvent, RunKind, Snapshot
from labelapp.training.handlers import run_train
from labelapp.training.scoring import completions_score
from labelapp.training.selectors import card_of
from labelapp.training.services import run_combine, run_folder, run_resume, run_start
from labelapp.training.sizes import parameter_count
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


def reward_kept(project: Project, name: str, folder: Path, *, seed: int, tokens: str = "plain") -> ModelVersion:
    """A reward model with random weights, kept as those that runs make are."""
    from tests.trainer.models import byte_tokenizer, tiny_llama
    from trainer.models.networks import model_save, reward_load

    base = tiny_llama(folder / f"{name}-base", tokenizer=tokens, seed=seed)
    model_save(reward_load(str(base), seed=seed), byte_tokenizer(tokens), folder / name)
    weights = artifact_publish(path=folder / name, project=project, kind=Artifact.Kind.MODEL, name=name)
    return ModelVersion.objects.create(project=project, name=name, kind="reward", state="ready", weights=weights)


def scores_by(model: ModelVersion) -> dict[int, tuple[float, float | None]]:
    """The score and the disagreement of each completion, as a worker found them."""
    job = work(completions_score(reward=model, project=model.project, created_by=None))
    assert job.state == Job.State.SUCCEEDED, f"{job.message} {job.error} {job.result}"
    rows = CompletionScore.objects.filter(model_version=model)
    return {pk: (score, apart) for pk, score, apart in rows.values_list("completion_id", "score", "disagreement")}


def combined(project: Project, members: list[ModelVersion], **given: object) -> ModelVersion:
    """What a worker makes of reward models."""
    run = run_combine(
        **{"project": project, "name": "Both", "members": members, "options": {}, "created_by": None, **given}  # type: ignore[arg-type]
    )
    job = work(run.job)
    assert job.state == Job.State.SUCCEEDED, f"{job.message} {job.error} {job.result}"
    run.refresh_from_db()
    assert run.result is not None
    return run.result


def test_an_ensemble_is_made_and_scores_with_its_disagreement(
    project: Project, snapshot: Snapshot, llama: ModelVersion, tmp_path: Path
) -> None:
    """The mean of what its models say by themselves, and half of what lies between them."""
    members = [reward_kept(project, name, tmp_path, seed=seed) for seed, name in enumerate(("Help", "Safe"), start=1)]
    model = combined(project, members, snapshot=snapshot)
    run = Run.objects.get()
    assert run.report["metrics"]["comparisons"] == 18
    assert [row["member"] for row in run.report["breakdown"]["by_member"]] == [1, 2]
    assert run.report["counts"]["held_out"]["comparisons"]["kept"] == 3
    assert not RunEvent.objects.exists()
    assert "# Combined reward model" in card_of(model)
    assert parameter_count(model) == sum(parameter_count(member) or 0 for member in members)
    prompt_with_completions(project, k=3)
    first, second, both = scores_by(members[0]), scores_by(members[1]), scores_by(model)
    assert len(both) == 3
    for pk, (score, apart) in both.items():
        one, other = first[pk][0], second[pk][0]
        assert score == pytest.approx((one + other) / 2, abs=1e-5)
        assert apart == pytest.approx(abs(one - other) / 2, abs=1e-5)
        assert first[pk][1] is None


def test_weights_count_in_the_order_of_the_models(
    project: Project, snapshot: Snapshot, llama: ModelVersion, tmp_path: Path
) -> None:
    """With weights 2 and 0, scores are twice the first model's standardised ones: differences are in proportion."""
    members = [reward_kept(project, name, tmp_path, seed=seed) for seed, name in enumerate(("Help", "Safe"), start=1)]
    options = {"how": "linear", "weights": ["2", "0"], "dtype": "float32"}
    model = combined(project, members, snapshot=snapshot, options=options)
    deviation = Run.objects.get().report["metrics"]["deviation_1"]
    prompt_with_completions(project, k=3)
    first, both = scores_by(members[0]), scores_by(model)
    low, *others = sorted(both)
    for pk in others:
        wanted = 2 * (first[pk][0] - first[low][0]) / deviation
        assert both[pk][0] - both[low][0] == pytest.approx(wanted, abs=1e-3)
    assert {apart for _, apart in both.values()} == {None}


def test_models_of_other_tokens_are_refused_in_words(project: Project, llama: ModelVersion, tmp_path: Path) -> None:
    """Before the run where that can be seen, and by the trainer: here the templates differ, which it alone reads."""
    members = [
        reward_kept(project, "Help", tmp_path, seed=1, tokens="bos"),
        reward_kept(project, "Safe", tmp_path, seed=2, tokens="bos_chat"),
        reward_kept(project, "Other", tmp_path, seed=3, tokens="chat"),
    ]
    with pytest.raises(DomainError, match="“Other” has another vocabulary than “Help”"):
        combined(project, [members[0], members[2]])
    run = run_combine(project=project, name="Both", members=members[:2], options={}, created_by=None)
    job = work(run.job)
    assert job.state == Job.State.FAILED
    assert "Model 2 has another chat template than the first" in job.message
    assert not ModelVersion.objects.filter(name="Both").exists()
