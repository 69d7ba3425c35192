"""The life of a job. Its row is the truth: messages to workers may be lost or come twice, and nothing is done twice."""

import logging
from collections.abc import Mapping, Sequence
from datetime import timedelta

from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce, Now

from labelapp.accounts.audit import audit_record
from labelapp.celery import app
from labelapp.errors import ConflictError
from labelapp.jobs.registry import JobCancelledError, JobLostError, JobRun
from labelapp.models import Job, Project, User

log = logging.getLogger(__name__)

State = Job.State
ALLOWED = {
    State.QUEUED: {State.RUNNING, State.FAILED, State.CANCELLED},
    State.RUNNING: {State.QUEUED, State.SUCCEEDED, State.FAILED, State.CANCELLED},
    State.SUCCEEDED: set[State](),
    State.FAILED: set[State](),
    State.CANCELLED: set[State](),
}
TASKS = {Job.Queue.SHORT: "labelapp.jobs.tasks.job_run", Job.Queue.COMPUTE: "labelapp.jobs.tasks.job_run_compute"}
WORKER_SILENCE = timedelta(seconds=60)
"""A running job whose worker has said nothing for so long is taken from it."""
MESSAGE_PATIENCE = timedelta(seconds=30)
"""A job that waits for so long may have lost its message; another is sent, and one too many does no harm."""
MESSAGE_LIMIT = 300
TITLE_LIMIT = 200
NO_WAITING = {"max_retries": 1, "interval_start": 0, "interval_step": 0}
"""How long a page may wait for a broker that is down: not at all."""
REAPER_LOCK = 4_711_001
"""Number of the advisory lock that lets one reaper work at a time."""


@transaction.atomic
def job_create(
    *,
    project: Project,
    kind: str,
    title: str,
    payload: Mapping[str, object],
    created_by: User | None = None,
    queue: Job.Queue = Job.Queue.SHORT,
) -> Job:
    """Save a job and, once the transaction is committed, tell the workers of its queue."""
    job = Job.objects.create(
        project=project, kind=kind, title=title[:TITLE_LIMIT], payload=payload, created_by=created_by, queue=queue
    )
    audit_record(actor=created_by, verb="job_create", subject=job, project_id=project.pk, kind=kind)
    transaction.on_commit(lambda: _send([job]))
    return job


@transaction.atomic
def job_begin(*, project: Project, kind: str, title: str, payload: Mapping[str, object]) -> JobRun:
    """Save a job that this process does itself, claimed already. Should the process die, the workers take over."""
    job = Job.objects.create(project=project, kind=kind, title=title[:TITLE_LIMIT], payload=payload)
    audit_record(actor=None, verb="job_create", subject=job, project_id=project.pk, kind=kind)
    run = job_claim(job.pk)
    if run is None:
        raise JobLostError
    return run


@transaction.atomic
def job_claim(job_id: int) -> JobRun | None:
    """Take a waiting job and count the attempt. None when it is not waiting any more: whoever was first has it."""
    claimed = _transition(
        job_id, State.RUNNING, attempt=F("attempt") + 1, heartbeat_at=Now(), started_at=Coalesce("started_at", Now())
    )
    if not claimed:
        return None
    job = Job.objects.select_related("project").get(pk=job_id)
    return JobRun(job=job, attempt=job.attempt)


def job_progress(
    run: JobRun,
    *,
    done: int | None = None,
    total: int | None = None,
    message: str | None = None,
    cursor: Mapping[str, object] | None = None,
) -> None:
    """Show a sign of life and how far the work has come; what is None stays.

    Call it last in the transaction that writes the rows which `cursor` covers: when another attempt has taken over,
    it raises JobLostError, and when somebody asked to stop, JobCancelledError, so those rows are rolled back.
    """
    given = {"done": done, "total": total, "message": message and message[:MESSAGE_LIMIT], "cursor": cursor}
    changes = {name: value for name, value in given.items() if value is not None}
    mine = Job.objects.filter(pk=run.job.pk, attempt=run.attempt, state=State.RUNNING)
    if not mine.filter(cancel_requested=False).update(heartbeat_at=Now(), **changes):
        raise JobCancelledError if mine.exists() else JobLostError
    if run.listener:
        run.listener(message, done, total)


def job_finish(run: JobRun, *, result: Mapping[str, object]) -> bool:
    """The work is done. False when the attempt had lost the job."""
    return _transition(run.job.pk, State.SUCCEEDED, Q(attempt=run.attempt), result=result)


def job_fail(run: JobRun, *, message: str, error: str = "", result: Mapping[str, object] | None = None) -> bool:
    """The work ended badly: a message for people, and what a programmer may want to know. False as `job_finish`."""
    return _transition(
        run.job.pk,
        State.FAILED,
        Q(attempt=run.attempt),
        message=_storable(message)[:MESSAGE_LIMIT],
        error=_storable(error or (message if len(message) > MESSAGE_LIMIT else "")),
        result=result or {},
    )


def job_stop(run: JobRun) -> bool:
    """The attempt has stopped as asked. What it had saved stays. False as `job_finish`."""
    return _transition(run.job.pk, State.CANCELLED, Q(attempt=run.attempt), message="Stopped. What was saved stays.")


def job_retry(
    run: JobRun,
    *,
    error: str,
    happened: str = "Something went wrong on the way.",
    last_message: str = "",
    result: Mapping[str, object] | None = None,
) -> bool:
    """The attempt met trouble that may pass. The job waits for the next attempt, or fails after its last, unless
    somebody asked it to stop.

    People are told what happened while it waits, and the last message, with the result, once it has failed. False as
    `job_finish`.
    """
    if Job.objects.filter(pk=run.job.pk, cancel_requested=True).exists():
        return job_stop(run)
    if run.attempt >= run.job.max_attempts:
        message = f"Given up after {run.attempt} attempts. {last_message}" if last_message else _worn_out(run.job)
        return job_fail(run, message=message, error=error, result=result)
    message = f"{happened} The job waits to be continued."
    changes = {"message": _storable(message)[:MESSAGE_LIMIT], "error": _storable(error)}
    return _transition(run.job.pk, State.QUEUED, Q(attempt=run.attempt), heartbeat_at=Now(), **changes)


@transaction.atomic
def job_cancel(*, job: Job, actor: User) -> None:
    """Stop a job: at once when it waits, at its next sign of life when it runs. Raises ConflictError when it ended."""
    locked = Job.objects.select_for_update(no_key=True).get(pk=job.pk)
    if locked.is_finished:
        raise ConflictError(f"“{locked.title}” has ended already; there is nothing to stop.")
    if locked.state == State.QUEUED:
        _transition(locked.pk, State.CANCELLED, message="Stopped before it began.")
    else:
        Job.objects.filter(pk=locked.pk).update(cancel_requested=True)
    audit_record(actor=actor, verb="job_cancel", subject=locked, project_id=locked.project_id)


@transaction.atomic
def jobs_reap() -> int:
    """Take running jobs from silent workers, and send the messages of waiting jobs again; return how many of both.

    Safe to run at any time and by several at once: only one of them works.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [REAPER_LOCK])
        if not cursor.fetchone()[0]:
            return 0
    silent = Q(heartbeat_at__lt=Now() - WORKER_SILENCE)
    reaped = sum(_reap(job, silent) for job in Job.objects.filter(silent, state=State.RUNNING))
    waiting = Job.objects.filter(state=State.QUEUED).alias(sent_at=Coalesce("heartbeat_at", "created_at"))
    unheard = list(waiting.filter(sent_at__lt=Now() - MESSAGE_PATIENCE))
    Job.objects.filter(pk__in=[job.pk for job in unheard], state=State.QUEUED).update(heartbeat_at=Now())
    transaction.on_commit(lambda: _send(unheard))
    return reaped + len(unheard)


def _reap(job: Job, silent: Q) -> bool:
    """End or requeue a job whose worker is silent, unless it has spoken meanwhile."""
    mine = silent & Q(attempt=job.attempt)
    if job.cancel_requested:
        return _transition(job.pk, State.CANCELLED, mine, message="Stopped. What was saved stays.")
    if job.attempt >= job.max_attempts:
        return _transition(job.pk, State.FAILED, mine, message=_worn_out(job))
    requeued = _transition(
        job.pk, State.QUEUED, mine, heartbeat_at=Now(), message="Its worker went silent; the job waits to be continued."
    )
    if requeued:
        transaction.on_commit(lambda: _send([job]))
    return requeued


def _worn_out(job: Job) -> str:
    return (
        f"Given up after {job.attempt} attempts: each time the worker died or met an error. What was saved stays. "
        "Look into the workers' log, then start the job again."
    )


def _transition(job_id: int, to: State, condition: Q | None = None, **changes: object) -> bool:
    """The one place where a job's state changes; False when its state, or the condition, does not allow it."""
    sources = [source for source, targets in ALLOWED.items() if to in targets]
    finished_at = None if ALLOWED[to] else Now()
    jobs = Job.objects.filter(condition or Q(), pk=job_id, state__in=sources)
    return jobs.update(state=to, finished_at=finished_at, **changes) == 1


def _storable(text: str) -> str:
    """Text as the database can hold it, whatever a failing program wrote into its last words."""
    return text.replace("\x00", "\ufffd").encode(errors="replace").decode()


def _send(jobs: Sequence[Job]) -> None:
    """Tell the workers. Failing is no loss: the reaper sends again."""
    if not jobs:
        return
    try:
        with app.connection_for_write(transport_options=NO_WAITING) as broker:
            for job in jobs:
                queue = Job.Queue(job.queue)
                app.send_task(TASKS[queue], args=[job.pk], queue=queue.value, connection=broker, retry=False)
    except Exception as error:
        ids = ", ".join(str(job.pk) for job in jobs)
        log.warning("The broker does not take messages (%s); sent again later: job %s", error, ids)
