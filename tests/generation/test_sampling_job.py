"""The job that samples, with a real process beside it that obeys the trainer's contract."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from django.conf import settings

from labelapp.generation.sampling import SampleChoice
from labelapp.generation.sampling_job import ORIGIN, PROMPTS, Draw, folder_of, sampling_run
from labelapp.generation.selectors import model_shares
from labelapp.jobs.execution import job_execute
from labelapp.jobs.registry import JobLostError, JobRun
from labelapp.jobs.services import job_cancel, jobs_reap
from labelapp.models import Completion, Job, ModelVersion, Project, User
from tests.factories import completion_make
from tests.generation.conftest import MakeModel, brought, claimed, do, prompts_make, sample, wanted
from tests.jobs.conftest import age

Listener = Callable[[str | None, int | None, int | None], None]


class KilledError(Exception):
    """What ends a worker in the middle of its work."""


def folders() -> list[Path]:
    return list(Path(settings.RUN_ROOT).glob("sample-*"))


def when(completions: int, act: Callable[[], None]) -> Listener:
    """A listener that acts once, when so many completions are in."""
    acted: list[int] = []

    def listener(_message: str | None, done: int | None, _total: int | None) -> None:
        if done is not None and done >= completions and not acted:
            acted.append(done)
            act()

    return listener


def die() -> None:
    raise JobLostError  # unlike any other error it writes nothing more, as a dead worker


def die_at(job: Job, completions: int) -> None:
    """An attempt whose worker dies once so many completions are in."""
    job_execute(replace(claimed(job), listener=when(completions, die)))
    age(job, 100)
    assert jobs_reap() == 1


def test_every_completion_comes_in_with_where_it_came_from(project: Project, make_model: MakeModel) -> None:
    prompts, model = prompts_make(project, 3), make_model()
    job = do(sample(model, n=2))
    assert (job.state, job.done, job.total) == ("succeeded", 6, 6)
    assert brought(job) == wanted(job, prompts, model)
    completion = Completion.objects.get(prompt=prompts[0], source_key=f"{job.pk}:1")
    assert completion.text == f"tiny 1: {prompts[0].messages[-1]['content']}"
    assert (completion.finish_reason, completion.seed, len(completion.text_hash)) == ("length", 0, 64)
    how = {"temperature": 1.0, "top_p": 1.0, "max_tokens": 256, "stop": [], "dtype": "auto"}
    assert completion.sampling == how
    assert folders() == []
    assert job.result["completions"] == 6
    assert job.message == "6 completions came in."


def test_prompts_that_do_not_fit_a_model_are_told(project: Project, make_model: MakeModel) -> None:
    prompts_make(project, 3)
    one, two = make_model("one"), make_model("two", too_long=2)
    job = do(sample(one, two))
    assert (job.state, job.done, job.total) == ("succeeded", 8, 12)
    assert job.message == "8 completions came in. Prompts too long to be answered: 2 by “two”."
    assert [share.counts["prompts_excluded"] for share in model_shares(job)] == [0, 2]


def test_several_models_answer_the_same_prompts_each_with_its_own_number(
    project: Project, make_model: MakeModel
) -> None:
    prompts_make(project, 8)
    one, two = make_model("one"), make_model("two")
    job = do(sample(one, two, n=1, choice=SampleChoice(limit=3), n_by_model={two.pk: 2}))
    assert (job.state, job.total, job.done) == ("succeeded", 9, 9)
    by_one = Completion.objects.filter(model_version=one).values_list("prompt", flat=True)
    by_two = Completion.objects.filter(model_version=two).values_list("prompt", flat=True)
    assert len(by_one) == 3
    assert sorted(by_two) == sorted([*by_one, *by_one])
    assert [(share.model, share.n, share.completions) for share in model_shares(job)] == [(one, 1, 3), (two, 2, 6)]
    assert [report["completions"] for report in job.result["models"]] == [3, 6]


def test_each_model_leaves_out_what_it_has_answered(project: Project, make_model: MakeModel) -> None:
    prompts = prompts_make(project, 3)
    one, two = make_model("one"), make_model("two")
    completion_make(prompts[0], "before", "one")
    completion_make(prompts[1], "before", "two")
    job = do(sample(one, two, n=1, choice=SampleChoice(unsampled=True)))
    expected = [*wanted(job, prompts[1:], one, n=1), *wanted(job, [prompts[0], prompts[2]], two, n=1)]
    assert brought(job) == sorted(expected)
    assert job.total == job.done == 4


def test_odd_texts_are_kept_as_well_as_the_database_can(project: Project, make_model: MakeModel) -> None:
    prompts_make(project, 1)
    job = do(sample(make_model(odd=True), n=4))
    assert job.state == "succeeded", job.error
    texts = dict(Completion.objects.values_list("source_key", "text"))
    assert texts == {
        f"{job.pk}:0": "",
        f"{job.pk}:1": "nul \ufffd inside",
        f"{job.pk}:2": "half \ufffd a character",
        f"{job.pk}:3": "a plain one",
    }


@pytest.mark.parametrize("deaths", [[1], [0], [3, 7], [12]])
def test_an_attempt_goes_on_where_the_last_one_died(project: Project, make_model: MakeModel, deaths: list[int]) -> None:
    prompts = prompts_make(project, 3)
    one, two = make_model("one", delay=0.2), make_model("two", delay=0.2)
    job = sample(one, two, n=2)
    for death in deaths:
        die_at(job, death)
    job = do(job)
    assert (job.state, job.done, job.attempt) == ("succeeded", 12, len(deaths) + 1)
    assert brought(job) == wanted(job, prompts, one, two)


def test_nothing_that_came_meanwhile_joins_the_draw(project: Project, make_model: MakeModel) -> None:
    prompts, model = prompts_make(project, 10), make_model(delay=0.1)
    job = sample(model, choice=SampleChoice(unsampled=True))
    die_at(job, 12)
    assert brought(job)
    prompts_make(project, 4, split="test")
    shutil.rmtree(folder_of(job, model))
    job = do(job)
    assert (job.done, job.total) == (20, 20)
    assert brought(job) == wanted(job, prompts, model)


@pytest.mark.parametrize("loss", ["all", "origin", "outputs"])
def test_a_lost_or_another_folder_is_read_from_its_start(project: Project, make_model: MakeModel, loss: str) -> None:
    prompts, model = prompts_make(project, 10), make_model(delay=0.1)
    job = sample(model)
    die_at(job, 12)
    folder = folder_of(job, model)
    assert Draw(**Job.objects.get(pk=job.pk).cursor).offset > 0
    if loss == "all":
        shutil.rmtree(folder)
    elif loss == "origin":
        (folder / ORIGIN).write_text("another")
        outputs = folder / "outputs.jsonl"
        lines = outputs.read_text().split("\n")[:-1]
        outputs.write_text("\n".join([*reversed(lines), ""]))
    else:
        (folder / "outputs.jsonl").unlink()
    job = do(job)
    assert (job.state, job.done) == ("succeeded", 20)
    assert brought(job) == wanted(job, prompts, model)


def test_the_file_of_prompts_is_not_written_again(project: Project, make_model: MakeModel) -> None:
    prompts, model = prompts_make(project, 3), make_model(delay=0.2)
    job = sample(model)
    die_at(job, 1)
    path = folder_of(job, model) / PROMPTS
    before = path.stat().st_mtime_ns, path.read_text()
    assert [json.loads(line)["prompt"] for line in before[1].splitlines()] != []
    die_at(job, 2)
    assert (path.stat().st_mtime_ns, path.read_text()) == before
    assert brought(do(job)) == wanted(job, prompts, model)


def test_a_stopped_job_keeps_what_came_in(project: Project, make_model: MakeModel, omar: User) -> None:
    prompts_make(project, 5)
    job = sample(make_model(delay=0.2))
    job_execute(replace(claimed(job), listener=when(2, lambda: job_cancel(job=job, actor=omar))))
    job.refresh_from_db()
    assert job.state == Job.State.CANCELLED
    assert 2 <= Completion.objects.count() < 10
    assert folders() == []


def test_a_trainer_that_fails_is_quoted(project: Project, make_model: MakeModel) -> None:
    prompts_make(project, 2)
    job = do(sample(make_model(fail_after=3)))
    assert job.state == Job.State.FAILED
    assert "CUDA is out of patience" in job.message
    assert Completion.objects.count() == 3
    assert folders() == []


def test_a_model_that_was_retired_meanwhile_writes_nothing(project: Project, make_model: MakeModel) -> None:
    prompts_make(project, 1)
    model = make_model()
    job = sample(model)
    ModelVersion.objects.filter(pk=model.pk).update(state="retired")
    assert "is retired" in do(job).message
    assert not Completion.objects.exists()


def test_prompts_that_are_gone_by_then_are_told(project: Project, make_model: MakeModel) -> None:
    prompts = prompts_make(project, 1)
    job = sample(make_model())
    prompts[0].delete()
    job = do(job)
    assert (job.state, job.message[:15]) == ("failed", "No prompt fits ")


def test_an_attempt_that_was_overtaken_writes_nothing(project: Project, make_model: MakeModel) -> None:
    prompts_make(project, 2)
    job = sample(make_model())
    run: JobRun = claimed(job)
    Job.objects.filter(pk=job.pk).update(attempt=2)
    with pytest.raises(JobLostError):
        sampling_run(run)
    assert not Completion.objects.exists()


def test_folders_that_dead_jobs_left_are_removed(project: Project, make_model: MakeModel) -> None:
    prompts_make(project, 1)
    model = make_model(delay=0.3)
    dead, alive = sample(model), sample(model)
    for job in (dead, alive):
        folder_of(job, model).mkdir(parents=True)
    Path(settings.RUN_ROOT, "sample-odd-name").mkdir()
    Job.objects.filter(pk=dead.pk).update(state="failed", finished_at=dead.created_at)
    do(sample(model))
    assert {folder.name for folder in folders()} == {folder_of(alive, model).name, "sample-odd-name"}


def test_a_missing_trainer_is_told(project: Project, make_model: MakeModel) -> None:
    prompts_make(project, 1)
    settings.TRAINER_COMMAND = ["/nowhere/python"]
    job = do(sample(make_model()))
    assert job.state == Job.State.FAILED
    assert "/nowhere/python cannot be started" in job.message
