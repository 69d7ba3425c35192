"""Drafts and submitted annotations. What the page called saved is committed here."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import connection, transaction
from django.utils import timezone

from labelapp.errors import ConflictError, DomainError
from labelapp.labeling.judgement import Judgement
from labelapp.labeling.services.seats import annotator_lock, seat_heartbeat, seat_transition
from labelapp.models import Annotation, Draft, Protocol, Rating, Seat, TaskSkip

DRAFT_LIMIT = 200_000

SAVE_DRAFT = """
INSERT INTO labelapp_draft AS draft (annotator_id, task_id, content, revision, opened_at, saved_at)
SELECT %(annotator)s, %(task)s, %(content)s::jsonb, %(revision)s, %(opened_at)s, now()
WHERE NOT EXISTS (SELECT 1 FROM labelapp_annotation
                  WHERE task_id = %(task)s AND annotator_id = %(annotator)s AND supersedes_id IS NULL)
  AND NOT EXISTS (SELECT 1 FROM labelapp_taskskip WHERE task_id = %(task)s AND annotator_id = %(annotator)s)
ON CONFLICT (annotator_id, task_id) DO UPDATE
    SET content = excluded.content, revision = excluded.revision, saved_at = excluded.saved_at
    WHERE draft.revision < excluded.revision
RETURNING draft.revision
"""


@dataclass(frozen=True)
class Seating:
    """Proof that a person was seated at a task; it travels signed in their form and outlives the seat."""

    task_id: int
    annotator_id: int
    key: uuid.UUID
    opened_at: datetime


@dataclass(frozen=True)
class Effort:
    """Seconds as the page counted them: at work on the task, and to be paid."""

    active_seconds: int | None
    paid_seconds: int | None


def draft_save(*, seating: Seating, content: Mapping[str, str], revision: int) -> Seat | None:
    """Keep unsubmitted work and renew the lease; return the seat, or None when it was given away meanwhile.

    Raises ConflictError when a newer revision is stored or the task was submitted, DomainError when the
    draft is too large.
    """
    if sum(len(name) + len(value) for name, value in content.items()) > DRAFT_LIMIT:
        raise DomainError("This draft is too long to keep (200,000 characters at most). Shorten the rationale.")
    # PostgreSQL's jsonb cannot hold a NUL character.
    stored = json.dumps({name.replace("\x00", ""): value.replace("\x00", "") for name, value in content.items()})
    with transaction.atomic(), connection.cursor() as cursor:
        values: dict[str, int | str | datetime] = {
            "annotator": seating.annotator_id,
            "task": seating.task_id,
            "content": stored,
            "revision": revision,
            "opened_at": seating.opened_at,
        }
        cursor.execute(SAVE_DRAFT, values)
        if cursor.fetchone() is None:
            raise ConflictError("This task was changed, submitted or skipped in another tab. Reload to see it.")
        return seat_heartbeat(annotator_id=seating.annotator_id, task_id=seating.task_id, idle_seconds=0)


@transaction.atomic
def annotation_submit(
    *,
    seating: Seating,
    judgement: Judgement,
    protocol: Protocol,
    order_shown: Sequence[int],
    effort: Effort,
) -> Annotation:
    """Store a judgement: in the person's seat, else in any free seat of the task, else as surplus.

    The same key again returns the annotation that it made. Raises ConflictError when the person has already submitted
    this task in another way.
    """
    annotator_lock(seating.annotator_id)
    earlier = Annotation.objects.filter(
        task_id=seating.task_id, annotator_id=seating.annotator_id, supersedes__isnull=True
    ).first()
    if earlier and earlier.idempotency_key == seating.key:
        return earlier
    if earlier:
        raise ConflictError("You have already submitted this task from another tab or device; that answer was kept.")
    seat = _seat_for(seating)
    annotation = Annotation.objects.create(
        task_id=seating.task_id,
        annotator_id=seating.annotator_id,
        protocol=protocol,
        seat=seat,
        surplus=seat is None,
        edges=judgement.edges,
        ranking=judgement.tiers,
        first_ranking=judgement.first_tiers,
        order_shown=list(order_shown),
        answers=judgement.answers,
        confidence=judgement.confidence,
        rationale=judgement.rationale,
        active_seconds=_within(effort.active_seconds, seating.opened_at),
        paid_seconds=_within(effort.paid_seconds, seating.opened_at),
        idempotency_key=seating.key,
    )
    Rating.objects.bulk_create(
        Rating(annotation=annotation, slot=slot, likert=rating.likert, answers=rating.answers)
        for slot, rating in judgement.ratings.items()
    )
    if seat:
        seat_transition(
            Seat.objects.filter(pk=seat.pk), Seat.State.FILLED, annotator=seating.annotator_id, lease_until=None
        )
    # Who skipped it in one tab and answered it in another did answer it.
    TaskSkip.objects.filter(annotator_id=seating.annotator_id, task_id=seating.task_id).delete()
    Draft.objects.filter(annotator_id=seating.annotator_id, task_id=seating.task_id).delete()
    return annotation


def _seat_for(seating: Seating) -> Seat | None:
    """The seat this work fills, locked: held by the person, else free at the task. None makes it surplus."""
    seats = Seat.objects.select_for_update(no_key=True).filter(task_id=seating.task_id)
    held = seats.filter(annotator_id=seating.annotator_id, state=Seat.State.HELD).first()
    return held or seats.filter(state=Seat.State.OPEN).order_by("position").first()


def _within(seconds: int | None, opened_at: datetime) -> int | None:
    """No more than has passed since the page was opened; the page's clock may be wrong."""
    if seconds is None:
        return None
    return max(0, min(seconds, int((timezone.now() - opened_at).total_seconds()) + 1))
