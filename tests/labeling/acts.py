"""How annotators get their tasks in tests, and how the queue stands then."""

from typing import Any

from labelapp.labeling.services.seats import seat_reserve, seat_take
from labelapp.models import Annotator, Seat


def take(annotator: Annotator) -> Seat:
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    return seat


def reserve(annotator: Annotator) -> Seat:
    seat = seat_reserve(annotator_id=annotator.pk)
    assert seat is not None
    return seat


def states(**which: Any) -> list[str]:
    """The states of the seats, in order."""
    return sorted(Seat.objects.filter(**which).values_list("state", flat=True))
