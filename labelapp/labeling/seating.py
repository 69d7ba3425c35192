"""The signed slip in every labeling form: who was seated where, since when, and under which key they will submit."""

import uuid
from datetime import datetime, timedelta

from django.core import signing
from django.utils import timezone
from django.utils.translation import gettext as _

from labelapp.errors import DomainError
from labelapp.labeling.services.annotations import Seating
from labelapp.models import Draft, Seat

LIFETIME = timedelta(days=30)
SALT = "labelapp.seating"


def seating_new(
    *, task_id: int, annotator_id: int, seat: Seat | None, draft: Draft | None, first_seat: bool = True
) -> Seating:
    """A fresh slip for a page. Its clock starts when the person first opened the task."""
    known = [seat.held_at if seat else None, draft.opened_at if draft else None]
    return Seating(
        task_id=task_id,
        annotator_id=annotator_id,
        key=uuid.uuid4(),
        opened_at=min((time for time in known if time), default=timezone.now()),
        first_seat=first_seat,
        reserved=seat is not None and seat.state == Seat.State.RESERVED and draft is None,
    )


def seating_sign(seating: Seating) -> str:
    """The slip as text that only this server can have written."""
    value = [
        *(seating.task_id, seating.annotator_id, seating.key.hex, seating.opened_at.isoformat()),
        *(seating.first_seat, seating.reserved),
    ]
    return signing.dumps(value, salt=SALT)


def seating_read(text: str, *, task_id: int, annotator_id: int) -> Seating:
    """Read a slip back. Raises DomainError when it was changed, is too old, or is another person's or task's."""
    try:
        value = signing.loads(text, salt=SALT, max_age=LIFETIME)
    except signing.BadSignature:
        raise DomainError(
            _("This form is damaged or older than 30 days. Reload the page; your draft is kept.")
        ) from None
    seating = Seating(
        value[0], value[1], uuid.UUID(value[2]), datetime.fromisoformat(value[3]), *(bool(each) for each in value[4:6])
    )
    if (seating.task_id, seating.annotator_id) != (task_id, annotator_id):
        raise DomainError(_("This form belongs to another task or person. Open your next task from the start page."))
    return seating
