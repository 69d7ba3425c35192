"""The life of a job."""

import base64
import json
from itertools import product
from typing import Any

import pytest
import redis
from django.db import transaction
from django.utils import timezone

from labelapp.celery import app
from labelapp.errors import ConflictError
from labelapp.jobs.registry import JobCancelledError, JobLostError, JobRun
from labelapp.jobs.services import (
    ALLOWED,
    _transition,
    job_begin,
    job_cancel,
    job_claim,
    job_create,
    job_fail,
    job_finish,
    job_progress,
    job_retry,
    job_stop,
)
from labelapp.models import AuditEntry, Job, Project, Prompt, User
from tests import factories

State = Job.State


def steal(run: JobRun) -> JobRun:
    """What happens when the reaper requeues a job and another worker takes it."""
    Job.objects.filter(pk=run.job.pk).update(state=State.QUEUED)
    stolen = job_claim(run.job.pk)
    assert stolen is not None
    return stolen


@transaction.atomic
def save_chunk(run: JobRun) -> None:
    """What a handler does: rows first, then the progress that covers them."""
    factories.prompt_make(run.job.project)
    job_progress(run, done=5, cursor={"next": 5})


def test_create_saves_a_waiting_job(project: Project, omar: User) -> None:
    job = job_create(project=project, kind="stone", title="x" * 300, payload={"stone": 7}, created_by=omar)
    job.refresh_from_db()
    assert (job.state, job.attempt, job.payload, len(job.title)) == (State.QUEUED, 0, {"stone": 7}, 200)
    entry = AuditEntry.objects.get(verb="job_create")
    assert (entry.actor_id, entry.object_id, entry.data) == (omar.pk, job.pk, {"kind": "stone"})


def test_a_message_with_the_id_alone_follows_the_commit(
    project: Project, broker: redis.Redis, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks() as callbacks:
        job = job_create(project=project, kind="stone", title="Stone", payload={"secret": "words"})
        assert broker.llen("short") == 0
    for callback in callbacks:
        callback()
    message = json.loads(broker.lrange("short", 0, -1)[0])
    assert message["headers"]["task"] == "labelapp.jobs.tasks.job_run"
    assert json.loads(base64.b64decode(message["body"]))[0] == [job.pk]
    assert b"words" not in base64.b64decode(message["body"])


def test_compute_jobs_go_to_their_own_queue(
    project: Project, broker: redis.Redis, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        job_create(project=project, kind="stone", title="Stone", payload={}, queue=Job.Queue.COMPUTE)
    assert broker.llen("short") == 0
    message = json.loads(broker.lrange("compute", 0, -1)[0])
    assert message["headers"]["task"] == "labelapp.jobs.tasks.job_run_compute"


def test_a_dead_broker_does_not_hurt_and_does_not_keep_one_waiting(
    project: Project, django_capture_on_commit_callbacks: Any, caplog: pytest.LogCaptureFixture
) -> None:
    before = app.conf.broker_url
    app.conf.broker_url = "redis://127.0.0.1:1/0"
    try:
        with django_capture_on_commit_callbacks(execute=True):
            job = job_create(project=project, kind="stone", title="Stone", payload={})
    finally:
        app.conf.broker_url = before
    assert Job.objects.get(pk=job.pk).state == State.QUEUED
    assert f"sent again later: job {job.pk}" in caplog.text


def test_begin_is_claimed_at_once_and_sends_nothing(
    project: Project, broker: redis.Redis, django_capture_on_commit_callbacks: Any
) -> None:
    with django_capture_on_commit_callbacks(execute=True):
        run = job_begin(project=project, kind="stone", title="Stone", payload={})
    assert (run.job.state, run.attempt) == (State.RUNNING, 1)
    assert broker.llen("short") == 0


def test_claim_counts_the_attempt(job: Job) -> None:
    run = job_claim(job.pk)
    assert run is not None
    assert (run.attempt, run.job.state, run.job.payload) == (1, State.RUNNING, {"stone": 7})
    assert run.job.heartbeat_at is not None
    assert run.job.started_at is not None


def test_a_job_is_claimed_once(run: JobRun) -> None:
    assert job_claim(run.job.pk) is None


def test_claim_of_nothing_is_none(project: Project) -> None:
    assert job_claim(0) is None


def test_progress_shows_and_keeps_what_is_not_given(run: JobRun) -> None:
    job_progress(run, done=3, total=10, message="Rolling", cursor={"next": 3})
    job_progress(run, done=4)
    job = Job.objects.get(pk=run.job.pk)
    assert (job.done, job.total, job.message, job.cursor) == (4, 10, "Rolling", {"next": 3})


def test_progress_is_a_sign_of_life(run: JobRun) -> None:
    long_ago = timezone.now().replace(year=2020)
    Job.objects.filter(pk=run.job.pk).update(heartbeat_at=long_ago)
    job_progress(run)
    heartbeat = Job.objects.get(pk=run.job.pk).heartbeat_at
    assert heartbeat is not None
    assert heartbeat > long_ago


def test_progress_tells_the_listener(run: JobRun) -> None:
    heard: list[tuple[str | None, int | None, int | None]] = []
    told = JobRun(run.job, run.attempt, listener=lambda *told: heard.append(told))
    job_progress(told, done=1, total=2, message="Rolling")
    assert heard == [("Rolling", 1, 2)]


def test_a_stale_attempt_writes_nothing(run: JobRun) -> None:
    stolen = steal(run)
    with pytest.raises(JobLostError):
        save_chunk(run)
    assert not Prompt.objects.exists()
    job = Job.objects.get(pk=run.job.pk)
    assert (job.attempt, job.done, job.cursor) == (stolen.attempt, 0, {})


def test_a_stale_attempt_ends_nothing(run: JobRun) -> None:
    steal(run)
    assert not job_finish(run, result={"stones": 1})
    assert not job_fail(run, message="No")
    assert not job_stop(run)
    assert not job_retry(run, error="No")
    assert Job.objects.get(pk=run.job.pk).state == State.RUNNING


def test_finish_keeps_the_result(run: JobRun) -> None:
    assert job_finish(run, result={"stones": 1})
    job = Job.objects.get(pk=run.job.pk)
    assert (job.state, job.result) == (State.SUCCEEDED, {"stones": 1})
    assert job.finished_at is not None


def test_fail_keeps_a_long_message_whole(run: JobRun) -> None:
    assert job_fail(run, message="x" * 400)
    job = Job.objects.get(pk=run.job.pk)
    assert (job.state, len(job.message), len(job.error)) == (State.FAILED, 300, 400)


def test_fail_takes_text_that_no_database_holds(run: JobRun) -> None:
    assert job_fail(run, message="It broke", error="a\x00b\ud800c")
    assert Job.objects.get(pk=run.job.pk).error == "a\ufffdb?c"


def test_retry_waits_for_the_next_attempt(run: JobRun) -> None:
    assert job_retry(run, error="deadlock")
    job = Job.objects.get(pk=run.job.pk)
    assert (job.state, job.error) == (State.QUEUED, "deadlock")
    again = job_claim(job.pk)
    assert again is not None
    assert again.attempt == 2


def test_retry_of_the_last_attempt_fails(run: JobRun) -> None:
    last = JobRun(run.job, run.attempt)
    last.job.max_attempts = 1
    assert job_retry(last, error="deadlock")
    job = Job.objects.get(pk=run.job.pk)
    assert (job.state, job.error) == (State.FAILED, "deadlock")
    assert "Given up after 1 attempts" in job.message


def test_cancel_ends_a_waiting_job(job: Job, omar: User) -> None:
    job_cancel(job=job, actor=omar)
    job.refresh_from_db()
    assert job.state == State.CANCELLED
    assert job_claim(job.pk) is None
    assert AuditEntry.objects.get(verb="job_cancel").actor_id == omar.pk


def test_cancel_stops_a_running_job_at_its_next_sign_of_life(run: JobRun, omar: User) -> None:
    job_cancel(job=run.job, actor=omar)
    with pytest.raises(JobCancelledError):
        save_chunk(run)
    assert not Prompt.objects.exists()
    assert job_stop(run)
    assert Job.objects.get(pk=run.job.pk).state == State.CANCELLED


def test_cancel_of_an_ended_job_is_refused(run: JobRun, omar: User) -> None:
    job_finish(run, result={})
    with pytest.raises(ConflictError, match="has ended already"):
        job_cancel(job=run.job, actor=omar)


@pytest.mark.parametrize(("source", "target"), list(product(State, State)))
def test_only_declared_transitions_happen(job: Job, source: State, target: State) -> None:
    now = timezone.now()
    finished = None if ALLOWED[source] else now
    Job.objects.filter(pk=job.pk).update(state=source, finished_at=finished, heartbeat_at=now)
    assert _transition(job.pk, target) == (target in ALLOWED[source])
    job.refresh_from_db()
    assert job.state == (target if target in ALLOWED[source] else source)


def test_retry_stops_where_somebody_asked_to_stop(run: JobRun, omar: User) -> None:
    job_cancel(job=run.job, actor=omar)
    assert job_retry(run, error="The database went away.")
    run.job.refresh_from_db()
    assert run.job.state == State.CANCELLED
