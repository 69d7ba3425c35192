"""Jobs to work on, and a real broker to send messages to."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from django.utils import timezone

from labelapp.celery import app
from labelapp.jobs.registry import JobRun
from labelapp.jobs.services import job_claim, job_create
from labelapp.models import Job, Project


@pytest.fixture
def job(project: Project) -> Job:
    return job_create(project=project, kind="stone", title="Rolling a stone", payload={"stone": 7})


@pytest.fixture
def run(job: Job) -> JobRun:
    claimed = job_claim(job.pk)
    assert claimed is not None
    return claimed


@pytest.fixture
def broker(redis_server: str) -> Iterator[redis.Redis]:
    """An empty redis that the application sends its messages to."""
    before = app.conf.broker_url
    app.conf.broker_url = redis_server
    client = redis.Redis.from_url(redis_server)
    client.flushall()
    yield client
    client.close()
    app.conf.broker_url = before


def age(job: Job, seconds: float) -> None:
    """Let the job's last sign of life be so long ago."""
    moment = timezone.now() - timedelta(seconds=seconds)
    Job.objects.filter(pk=job.pk).update(created_at=moment)
    Job.objects.filter(pk=job.pk, heartbeat_at__isnull=False).update(heartbeat_at=moment)
