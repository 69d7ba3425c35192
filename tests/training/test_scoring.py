"""Reward models that score completions."""

import json
import sys
from pathlib import Path

import pytest
from django.utils import timezone
from pytest_django import Settings

from labelapp.errors import DomainError
from labelapp.jobs.registry import JobLostError
from labelapp.models import Batch, Completion, CompletionScore, Job, ModelVersion, Project, Protocol, Run
from labelapp.training.handlers import folders_sweep
from labelapp.training.scoring import completions_score, scores_take
from tests.factories import batch_with_tasks, prompt_with_completions, run_make
from tests.training.test_handlers import back_to_the_queue, claim, work


@pytest.fixture
def reward(base: ModelVersion, project: Project) -> ModelVersion:
    return ModelVersion.objects.create(
        project=project, name="Rewards", kind="reward", state="ready", location=base.location
    )


@pytest.fixture
def batch(project: Project, protocol: Protocol) -> Batch:
    """Two tasks of four completions; two more completions are in none."""
    prompt_with_completions(project, "Not in the batch?", k=2)
    return batch_with_tasks(project, protocol, tasks=2, k=4)


def test_all_completions_are_scored(project: Project, reward: ModelVersion, batch: Batch) -> None:
    job = work(completions_score(reward=reward, project=project, created_by=None))
    assert job.state == Job.State.SUCCEEDED, job.message
    assert job.result == {"model": reward.pk, "scored": 10, "excluded": 0}
    assert CompletionScore.objects.filter(model_version=reward).count() == 10
    for score in CompletionScore.objects.select_related("completion"):
        assert score.score == len(score.completion.text)


def test_a_batchs_completions_are_scored(project: Project, reward: ModelVersion, batch: Batch) -> None:
    work(completions_score(reward=reward, batch=batch, project=project, created_by=None))
    scored = Completion.objects.filter(scores__model_version=reward)
    assert scored.count() == 8
    assert not scored.filter(prompt__messages__0__content="Not in the batch?").exists()


def test_what_is_scored_is_not_scored_again(project: Project, reward: ModelVersion, batch: Batch) -> None:
    work(completions_score(reward=reward, batch=batch, project=project, created_by=None))
    job = work(completions_score(reward=reward, project=project, created_by=None))
    assert job.result["scored"] == 2
    nothing = work(completions_score(reward=reward, project=project, created_by=None))
    assert (nothing.state, nothing.result["scored"]) == ("succeeded", 0)


def test_another_model_scores_for_itself(project: Project, reward: ModelVersion, batch: Batch) -> None:
    other = ModelVersion.objects.create(
        project=project, name="More rewards", kind="reward", state="ready", location=reward.location
    )
    for model in (reward, other):
        work(completions_score(reward=model, project=project, created_by=None))
    assert CompletionScore.objects.count() == 20


def test_only_reward_models_score(project: Project, base: ModelVersion) -> None:
    with pytest.raises(DomainError, match="“base” is no reward model that is ready"):
        completions_score(reward=base, project=project, created_by=None)


def test_an_older_attempt_saves_no_scores(project: Project, reward: ModelVersion, batch: Batch, tmp_path: Path) -> None:
    job = completions_score(reward=reward, project=project, created_by=None)
    older = claim(job)
    folder = tmp_path
    completion = Completion.objects.order_by("pk").first()
    assert completion is not None
    line = {"completion": completion.pk, "values": {"score": 1.5}}
    left_out = {"completion": completion.pk + 1, "values": {}, "excluded": "too long"}
    (folder / "outputs.jsonl").write_text(json.dumps(line) + "\n" + json.dumps(left_out) + "\n")
    back_to_the_queue(job)
    newer = claim(job)
    start = {"offset": 0, "scored": 0, "excluded": 0}
    with pytest.raises(JobLostError):
        scores_take(older, reward, folder, start)
    assert not CompletionScore.objects.exists()
    further = scores_take(newer, reward, folder, start)
    assert (further["scored"], further["excluded"]) == (1, 1)
    assert scores_take(newer, reward, folder, further) == further
    scores_take(newer, reward, folder, start)
    assert CompletionScore.objects.count() == 1


def test_a_scoring_that_fails_leaves_no_texts_behind(
    project: Project, reward: ModelVersion, batch: Batch, settings: Settings
) -> None:
    settings.TRAINER_COMMAND = [sys.executable, "-c", "raise SystemExit(2)"]
    job = completions_score(reward=reward, project=project, created_by=None)
    assert work(job).state == Job.State.FAILED
    assert not list(Path(settings.RUN_ROOT).glob("score-*"))


def test_folders_of_what_ended_are_swept(project: Project, settings: Settings) -> None:
    done, waiting = run_make(project, "done"), run_make(project, "waiting")
    Run.objects.filter(pk=done.pk).update(result=done.start)
    ended = Job.objects.create(
        project=project, kind="score", title="ended", state=Job.State.CANCELLED, finished_at=timezone.now()
    )
    names = [f"run-{done.pk}", f"run-{waiting.pk}", f"score-{ended.pk}", "score-x", "run-999999"]
    for name in names:
        Path(settings.RUN_ROOT, name).mkdir(parents=True)
    folders_sweep()
    left = {path.name for path in Path(settings.RUN_ROOT).iterdir()}
    assert left == {f"run-{waiting.pk}", "score-x", "run-999999"}
