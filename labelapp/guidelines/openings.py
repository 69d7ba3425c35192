"""The slip that a page carries from its opening, so that the time it reports is measured against our clock."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core import signing
from django.utils import timezone
from django.utils.translation import gettext as _

from labelapp.errors import DomainError
from labelapp.models import Annotator, TimeEntry

SALT = "guidelines.opening"
LIFETIME = timedelta(days=1)


@dataclass(frozen=True)
class Opening:
    """When somebody opened a page whose time is paid, and what it was."""

    annotator_id: int
    kind: TimeEntry.Kind
    opened_at: datetime


def opening_sign(annotator: Annotator, kind: TimeEntry.Kind) -> str:
    """A slip for a page that is opened now."""
    return signing.dumps([annotator.pk, kind.value, timezone.now().isoformat()], salt=SALT)


def opening_read(slip: str, *, annotator: Annotator) -> Opening:
    """Read a slip back. Raises DomainError for one that is not ours, not theirs, or from another day."""
    try:
        owner, kind, opened_at = signing.loads(slip, salt=SALT, max_age=LIFETIME)
    except signing.BadSignature as fault:
        raise DomainError(_("This page was opened too long ago for its time to be counted. Reload it.")) from fault
    if owner != annotator.pk:
        raise DomainError(_("This page was opened by somebody else. Reload it, and its time is counted as yours."))
    return Opening(owner, TimeEntry.Kind(kind), datetime.fromisoformat(opened_at))
