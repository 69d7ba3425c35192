"""Sparing people: how long somebody is shown sensitive content, and when a paid break is due."""

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from labelapp.models import Annotator, Exposure
from labelapp.statements import prepared

STRETCH_LIMIT = timedelta(minutes=25)
DAY_LIMIT = timedelta(minutes=120)
# So long without sensitive content ends a stretch of it.
PAUSE = timedelta(minutes=15)

EXPOSURE_ADD = """
INSERT INTO labelapp_exposure AS known (annotator_id, day, seconds_today, stretch_seconds, last_at)
VALUES (%(annotator)s, %(day)s, %(seconds)s, %(seconds)s, %(now)s)
ON CONFLICT (annotator_id) DO UPDATE SET
    day = excluded.day,
    seconds_today = excluded.seconds_today + CASE WHEN known.day = excluded.day THEN known.seconds_today ELSE 0 END,
    stretch_seconds = excluded.stretch_seconds
        + CASE WHEN known.last_at > %(stretch_since)s THEN known.stretch_seconds ELSE 0 END,
    last_at = excluded.last_at
"""


def exposure_add(*, annotator_id: int, seconds: int) -> None:
    """Note that somebody was shown sensitive content for so long until now. To be called when the task is done with."""
    now = timezone.now()
    seconds = max(seconds, 0)
    values: dict[str, Any] = {
        "annotator": annotator_id,
        "day": timezone.localdate(now),
        "seconds": seconds,
        "now": now,
        "stretch_since": now - timedelta(seconds=seconds) - PAUSE,
    }
    with prepared() as cursor:
        cursor.execute(EXPOSURE_ADD, values)


def exposure_limited(annotator: Annotator, now: datetime) -> bool:
    """Whether the person has seen enough sensitive content for now: 25 minutes at a stretch, 120 in a day."""
    return is_enough(Exposure.objects.filter(annotator=annotator).first(), now)


def is_enough(exposure: Exposure | None, now: datetime) -> bool:
    """As `exposure_limited`, of what is known already."""
    if exposure is None:
        return False
    today = exposure.seconds_today if exposure.day == timezone.localdate(now) else 0
    stretch = exposure.stretch_seconds if now - exposure.last_at < PAUSE else 0
    return today >= DAY_LIMIT.total_seconds() or stretch >= STRETCH_LIMIT.total_seconds()
