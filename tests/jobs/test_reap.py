"""The reaper: what died is continued, what got lost is sent again."""

from typing import Any

import psycopg
import pytest
import redis
from django.db import connection

from labelapp.jobs.registry import JobRun
from labelapp.jobs.services import REAPER_LOCK, job_claim, job_finish, jobs_reap
from labelapp.models import Job
from tests.jobs.conftest import age

State = Job.State


def test_it_leaves_the_living_alone(run: JobRun) -> None:
    age(run.job, 50)
    assert jobs_reap() == 0
    assert Job.objects.get(pk=run.job.pk).state == State.RUNNING


def test_it_requeues_a_job_whose_worker_is_silent(
    run: JobRun, broker: redis.Redis, django_capture_on_commit_callbacks: Any
) -> None:
    age(run.job, 70)
    with django_capture_on_commit_callbacks(execute=True):
        assert jobs_reap() == 1
    assert Job.objects.get(pk=run.job.pk).state == State.QUEUED
    assert broker.llen("short") == 1
    again = job_claim(run.job.pk)
    assert again is not None
    assert again.attempt == 2


def test_running_it_twice_does_nothing_more(
    run: JobRun, broker: redis.Redis, django_capture_on_commit_callbacks: Any
) -> None:
    age(run.job, 70)
    with django_capture_on_commit_callbacks(execute=True):
        assert (jobs_reap(), jobs_reap()) == (1, 0)
    assert broker.llen("short") == 1


def test_it_gives_up_after_the_last_attempt(run: JobRun) -> None:
    Job.objects.filter(pk=run.job.pk).update(attempt=5)
    age(run.job, 70)
    assert jobs_reap() == 1
    job = Job.objects.get(pk=run.job.pk)
    assert job.state == State.FAILED
    assert job.message.startswith("Given up after 5 attempts")


def test_it_ends_a_dead_job_that_was_to_stop(run: JobRun) -> None:
    Job.objects.filter(pk=run.job.pk).update(cancel_requested=True)
    age(run.job, 70)
    assert jobs_reap() == 1
    assert Job.objects.get(pk=run.job.pk).state == State.CANCELLED


def test_it_sends_a_lost_message_again_once_per_patience(
    job: Job, broker: redis.Redis, django_capture_on_commit_callbacks: Any
) -> None:
    age(job, 40)
    with django_capture_on_commit_callbacks(execute=True):
        assert (jobs_reap(), jobs_reap()) == (1, 0)
    assert broker.llen("short") == 1
    age(job, 40)
    with django_capture_on_commit_callbacks(execute=True):
        assert jobs_reap() == 1
    assert broker.llen("short") == 2


def test_it_trusts_a_young_message(job: Job, broker: redis.Redis, django_capture_on_commit_callbacks: Any) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        assert jobs_reap() == 0
    assert broker.llen("short") == 0


def test_it_never_touches_what_has_ended(run: JobRun) -> None:
    job_finish(run, result={})
    age(run.job, 10_000)
    assert jobs_reap() == 0
    assert Job.objects.get(pk=run.job.pk).state == State.SUCCEEDED


@pytest.mark.parametrize("held", [True, False])
def test_only_one_works_at_a_time(run: JobRun, held: bool) -> None:
    age(run.job, 70)
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as other:
        if held:
            other.execute("SELECT pg_advisory_lock(%s)", [REAPER_LOCK])
        assert jobs_reap() == (0 if held else 1)
