"""Celery's doors to the jobs. A message is acknowledged before the work begins: only the reaper delivers again."""

from celery import shared_task

from labelapp.jobs import services
from labelapp.jobs.execution import job_execute


@shared_task(ignore_result=True, acks_late=False)  # type: ignore[untyped-decorator]
def job_run(job_id: int) -> None:
    """Do a short job, unless another worker was first."""
    run = services.job_claim(job_id)
    if run:
        job_execute(run)


@shared_task(ignore_result=True, acks_late=False)  # type: ignore[untyped-decorator]
def job_run_compute(job_id: int) -> None:
    """Do a job of the compute queue, unless another worker was first."""
    run = services.job_claim(job_id)
    if run:
        job_execute(run)


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def jobs_reap() -> int:
    """Find jobs whose worker died or whose message was lost."""
    return services.jobs_reap()
