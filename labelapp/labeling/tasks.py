"""Celery's doors to the labeling room."""

from celery import shared_task

from labelapp.labeling import builds  # noqa: F401 (registers the job handler)
from labelapp.labeling.services import pools, seats


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def seats_expire() -> int:
    """Return abandoned seats to the queue, and note where each queue begins."""
    returned = seats.seats_expire()
    pools.pools_advance()
    return returned


@shared_task(ignore_result=True)  # type: ignore[untyped-decorator]
def drafts_forget() -> int:
    """Drop drafts nobody came back to."""
    return seats.drafts_forget()
