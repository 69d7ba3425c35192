"""Several workers at the same job, each with a connection of its own."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from labelapp.jobs.services import job_claim, job_create, jobs_reap
from labelapp.models import Job, Project
from tests.jobs.conftest import age

WORKERS = 6

pytestmark = pytest.mark.django_db(transaction=True)


def attempt_of(job_id: int) -> int | None:
    """The attempt that a claim got, or None."""
    try:
        run = job_claim(job_id)
        return run.attempt if run else None
    finally:
        connection.close()


def reap(_: int) -> int:
    try:
        return jobs_reap()
    finally:
        connection.close()


def test_one_of_many_workers_gets_the_job(project: Project) -> None:
    jobs = [job_create(project=project, kind="stone", title="Stone", payload={}) for _ in range(10)]
    with ThreadPoolExecutor(WORKERS) as workers:
        claims = list(workers.map(attempt_of, [job.pk for job in jobs for _ in range(WORKERS)]))
    assert sorted(claims, key=str) == [1] * 10 + [None] * 10 * (WORKERS - 1)


def test_one_of_many_reapers_takes_a_dead_job(project: Project) -> None:
    job = job_create(project=project, kind="stone", title="Stone", payload={})
    attempt_of(job.pk)
    age(job, 100)
    with ThreadPoolExecutor(WORKERS) as reapers:
        assert sum(reapers.map(reap, range(WORKERS))) == 1
    assert Job.objects.get(pk=job.pk).state == Job.State.QUEUED
