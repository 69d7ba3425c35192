"""Paid breaks: ten minutes after fifty of work, taken when the page offers one, or not."""

from datetime import timedelta

from django.db import transaction
from django.utils import timezone

from labelapp.labeling.services.seats import annotator_lock
from labelapp.models import TimeEntry

LIMIT = timedelta(minutes=10)
# The page offers one after 50 minutes of work. A break within this time of the last is the same one, reported again.
APART = timedelta(minutes=40)


@transaction.atomic
def break_note(*, annotator_id: int, seconds: int) -> int:
    """Pay a break that has just ended; return the seconds paid: at most ten minutes, and none soon after another."""
    annotator = annotator_lock(annotator_id)
    paid = max(0, min(seconds, int(LIMIT.total_seconds())))
    breaks = TimeEntry.objects.filter(annotator=annotator, kind=TimeEntry.Kind.BREAK)
    if not paid or breaks.filter(created_at__gt=timezone.now() - APART).exists():
        return 0
    TimeEntry.objects.create(annotator=annotator, kind=TimeEntry.Kind.BREAK, seconds=paid)
    return paid
