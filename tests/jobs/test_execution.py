"""One attempt at a job, and how its end is recorded."""

from collections.abc import Iterator, Mapping

import pytest
from django.db import OperationalError, connection, transaction

from labelapp.errors import DomainError
from labelapp.jobs import tasks
from labelapp.jobs.execution import job_execute
from labelapp.jobs.registry import HANDLERS, Handler, JobFailedError, JobRetryError, JobRun, job_handler
from labelapp.jobs.services import job_cancel, job_claim, job_progress
from labelapp.models import Job, Project, Prompt, User
from tests import factories
from tests.jobs.test_services import steal

State = Job.State


@pytest.fixture(autouse=True)
def _forget_handlers() -> Iterator[None]:
    before = dict(HANDLERS)
    yield
    HANDLERS.clear()
    HANDLERS.update(before)


def outcome(run: JobRun, handler: Handler) -> Job:
    """The job after one attempt with this handler."""
    job_handler("stone")(handler)
    job_execute(run)
    return Job.objects.get(pk=run.job.pk)


def test_what_the_handler_returns_is_the_result(run: JobRun) -> None:
    job = outcome(run, lambda run: {"stone": run.job.payload["stone"]})
    assert (job.state, job.result) == (State.SUCCEEDED, {"stone": 7})


def test_a_domain_error_speaks_for_itself(run: JobRun) -> None:
    def handler(run: JobRun) -> Mapping[str, object]:
        raise DomainError("The stone is too heavy. Take a smaller one.")

    job = outcome(run, handler)
    assert (job.state, job.message) == (State.FAILED, "The stone is too heavy. Take a smaller one.")
    assert job.error == ""


def test_a_failure_can_keep_a_result(run: JobRun) -> None:
    def handler(run: JobRun) -> Mapping[str, object]:
        raise JobFailedError("Half-way only.", {"height": 3})

    job = outcome(run, handler)
    assert (job.state, job.message, job.result) == (State.FAILED, "Half-way only.", {"height": 3})


def stumble(run: JobRun) -> Mapping[str, object]:
    raise JobRetryError("A root was in the way.", "Take another path.", {"height": 3})


def test_what_may_pass_is_tried_again(run: JobRun) -> None:
    job = outcome(run, stumble)
    assert (job.state, job.attempt, job.result) == (State.QUEUED, 1, {})
    assert job.message == "A root was in the way. The job waits to be continued."
    again = job_claim(job.pk)
    assert again is not None
    assert outcome(again, lambda run: {"height": 9}).result == {"height": 9}


def test_what_does_not_pass_fails_with_advice(run: JobRun) -> None:
    run.job.max_attempts = run.attempt
    job = outcome(run, stumble)
    assert (job.state, job.result) == (State.FAILED, {"height": 3})
    assert job.message == "Given up after 1 attempts. A root was in the way. Take another path."


def test_a_stumble_of_an_old_attempt_changes_nothing(run: JobRun) -> None:
    steal(run)
    job = outcome(run, stumble)
    assert (job.state, job.attempt, job.message) == (State.RUNNING, 2, "")


def test_a_surprise_keeps_its_last_words(run: JobRun) -> None:
    job = outcome(run, lambda run: {"stone": 1 / 0})
    assert job.state == State.FAILED
    assert job.message.startswith("Something unexpected happened.")
    assert job.error.endswith("ZeroDivisionError: division by zero")


def test_an_unknown_kind_says_so(run: JobRun) -> None:
    job_execute(run)
    job = Job.objects.get(pk=run.job.pk)
    assert (job.state, job.message[:30]) == (State.FAILED, "This version of Prefloop does ")


def test_trouble_with_the_database_is_tried_again(run: JobRun) -> None:
    def handler(run: JobRun) -> Mapping[str, object]:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 1")
            cursor.execute("SELECT pg_sleep(5)")
        return {}

    job = outcome(run, handler)
    assert (job.state, job.attempt) == (State.QUEUED, 1)
    assert OperationalError.__name__ in job.error


def test_a_stolen_job_is_left_to_the_thief(run: JobRun, project: Project) -> None:
    def handler(run: JobRun) -> Mapping[str, object]:
        steal(run)
        with transaction.atomic():
            factories.prompt_make(project)
            job_progress(run)
        return {}

    job = outcome(run, handler)
    assert (job.state, job.attempt) == (State.RUNNING, 2)
    assert not Prompt.objects.exists()


def test_a_stop_keeps_what_was_saved(run: JobRun, project: Project, omar: User) -> None:
    def handler(run: JobRun) -> Mapping[str, object]:
        factories.prompt_make(project)
        job_progress(run, done=1)
        job_cancel(job=run.job, actor=omar)
        job_progress(run, done=2)
        return {}

    job = outcome(run, handler)
    assert (job.state, job.done) == (State.CANCELLED, 1)
    assert Prompt.objects.count() == 1


@pytest.mark.parametrize("task", [tasks.job_run, tasks.job_run_compute])
def test_a_message_that_comes_twice_works_once(job: Job, task: object) -> None:
    stones: list[int] = []

    def handler(run: JobRun) -> Mapping[str, object]:
        stones.append(run.attempt)
        return {}

    job_handler("stone")(handler)
    for _ in range(2):
        task(job.pk)  # type: ignore[operator]
    assert stones == [1]


def test_tasks_bear_the_names_that_the_settings_use() -> None:
    names = [task.name for task in (tasks.job_run, tasks.job_run_compute, tasks.jobs_reap)]
    assert names == [f"labelapp.jobs.tasks.{name}" for name in ("job_run", "job_run_compute", "jobs_reap")]
