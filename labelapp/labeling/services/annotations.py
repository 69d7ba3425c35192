"""Drafts and submitted annotations. What the page called saved is committed here."""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from django.db import transaction
from django.db.models import JSONField
from django.utils import timezone
from django.utils.translation import gettext as _

from labelapp.errors import ConflictError, DomainError
from labelapp.labeling.judgement import Judgement
from labelapp.labeling.services.edits import edit_make
from labelapp.labeling.services.exposure import exposure_add
from labelapp.labeling.services.seats import (
    RENEWED,
    RENEWING,
    Renewal,
    renewal_asked,
    renewal_read,
    seat_transition,
    tally_count,
)
from labelapp.models import Annotation, Protocol, Seat
from labelapp.statements import columns, instances, prepared

DRAFT_LIMIT = 200_000

SAVE_DRAFT = """
INSERT INTO labelapp_draft AS draft (annotator_id, task_id, content, revision, opened_at, saved_at)
SELECT %(annotator)s, %(task)s, %(content)s::jsonb, %(revision)s,
       CASE WHEN %(reserved)s THEN coalesce((
           SELECT held_at FROM labelapp_seat WHERE task_id = %(task)s AND annotator_id = %(annotator)s
       ), %(opened_at)s) ELSE %(opened_at)s END,
       now()
WHERE NOT EXISTS (SELECT 1 FROM labelapp_annotation
                  WHERE task_id = %(task)s AND annotator_id = %(annotator)s AND supersedes_id IS NULL)
  AND NOT EXISTS (SELECT 1 FROM labelapp_demonstration
                  WHERE task_id = %(task)s AND annotator_id = %(annotator)s AND supersedes_id IS NULL)
  AND NOT EXISTS (SELECT 1 FROM labelapp_taskskip WHERE task_id = %(task)s AND annotator_id = %(annotator)s)
ON CONFLICT (annotator_id, task_id) DO UPDATE
    SET content = excluded.content, revision = excluded.revision, saved_at = excluded.saved_at
    WHERE draft.revision < excluded.revision
      AND (draft.revision <= %(base)s OR draft.content->>'page' = ANY(%(pages)s::text[]))
RETURNING draft.revision
"""

# The draft, and what its holder has, in one statement.
SAVE = f"""
WITH saved AS ({SAVE_DRAFT}), {RENEWING}
SELECT saved.revision, {RENEWED}
FROM (SELECT 1) AS one LEFT JOIN saved ON true LEFT JOIN held ON true LEFT JOIN ahead ON true
"""  # noqa: S608 (words of our own)

FACTS = """
SELECT batch.id, batch.quota, prompt.sensitivity, earlier.id, earlier.idempotency_key, draft.opened_at
FROM labelapp_comparisontask task
JOIN labelapp_batch batch ON batch.id = task.batch_id
JOIN labelapp_prompt prompt ON prompt.id = task.prompt_id
LEFT JOIN labelapp_annotation earlier
    ON earlier.task_id = task.id AND earlier.annotator_id = %(annotator)s AND earlier.supersedes_id IS NULL
LEFT JOIN labelapp_draft draft ON draft.task_id = task.id AND draft.annotator_id = %(annotator)s
WHERE task.id = %(task)s
"""

COLUMNS = [field.attname for field in Annotation._meta.concrete_fields if field.attname not in {"id", "imported_by_id"}]
JSON = [field.attname for field in Annotation._meta.concrete_fields if isinstance(field, JSONField)]
INSERT = f"""
WITH made AS (
    INSERT INTO labelapp_annotation ({", ".join(COLUMNS)})
    VALUES ({", ".join(f"%({name})s" for name in COLUMNS)}) RETURNING id
), rated AS (
    INSERT INTO labelapp_rating (annotation_id, slot, likert, answers, in_bulk)
    SELECT made.id, said.slot, said.likert, said.answers, said.in_bulk
    FROM made, jsonb_to_recordset(%(ratings)s) AS said(slot int, likert int, answers jsonb, in_bulk varchar[])
), unskipped AS (
    DELETE FROM labelapp_taskskip WHERE annotator_id = %(annotator_id)s AND task_id = %(task_id)s
), drafted AS (
    DELETE FROM labelapp_draft WHERE annotator_id = %(annotator_id)s AND task_id = %(task_id)s
)
SELECT id FROM made
"""  # noqa: S608 (words of our own)


# It may have been reserved for them as their next, when they lost it before.
OWN_SEAT = f"""
SELECT {columns(Seat, "seat")} FROM labelapp_seat seat
WHERE seat.task_id = %s AND seat.annotator_id = %s AND seat.state IN ('held', 'reserved')
FOR NO KEY UPDATE
"""  # noqa: S608 (words of our own)


class Facts(NamedTuple):
    """What the database knows of a person and a task that they submit."""

    batch_id: int
    quota: int | None
    sensitivity: list[str]
    earlier: int | None
    earlier_key: uuid.UUID | None
    draft_opened_at: datetime | None


@dataclass(frozen=True)
class Seating:
    """Proof that a person was seated at a task; it travels signed in their form and outlives the seat.

    `first_seat` says whether nobody else had answered then. Where the task was only `reserved` for them as their next,
    their clock starts when they hold it.
    """

    task_id: int
    annotator_id: int
    key: uuid.UUID
    opened_at: datetime
    first_seat: bool = True
    reserved: bool = False


@dataclass(frozen=True)
class Effort:
    """Seconds as the page counted them: at work on the task, to be paid, and at work by stage."""

    active_seconds: int | None
    paid_seconds: int | None
    by_stage: Mapping[str, int] = field(default_factory=dict)


def draft_save(
    *,
    seating: Seating,
    content: Mapping[str, str],
    revision: int,
    base: int | None = None,
    pages: Sequence[str] = (),
) -> Renewal:
    """Keep unsubmitted work and renew the lease; return what the person has: their seat, and the next one.

    `base` is the newest revision that the sender has seen, if it says so: what is stored beyond it is overwritten only
    where one of `pages` wrote it (the sender itself, or the opening of the page whose work it goes on with), for then
    just the answer was lost.

    Raises ConflictError when a newer revision is stored or the task was submitted, DomainError when the
    draft is too large.
    """
    if sum(len(name) + len(value) for name, value in content.items()) > DRAFT_LIMIT:
        raise DomainError(_("This draft is too long to keep (200,000 characters at most). Shorten the rationale."))
    # PostgreSQL's jsonb cannot hold a NUL character.
    stored = json.dumps({name.replace("\x00", ""): value.replace("\x00", "") for name, value in content.items()})
    values = {
        **renewal_asked(annotator_id=seating.annotator_id, task_id=seating.task_id, idle_seconds=0),
        "content": stored,
        "revision": revision,
        "base": revision - 1 if base is None else base,
        "pages": [page for page in pages if page],
        "opened_at": seating.opened_at,
        "reserved": seating.reserved,
    }
    with prepared() as cursor:
        cursor.execute(SAVE, values)
        saved, *renewed = cursor.fetchone()
    if saved is None:
        raise ConflictError(_("This task was changed, submitted or skipped in another tab. Reload to see it."))
    return renewal_read(renewed)


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
    facts = _facts(seating)
    if facts.earlier and facts.earlier_key == seating.key:
        return Annotation.objects.get(pk=facts.earlier)
    if facts.earlier:
        raise ConflictError(_("You have already submitted this task from another tab or device; that answer was kept."))
    seat = seat_for(seating)
    opened_at = seat.held_at if seat and seating.reserved and seat.held_at else seating.opened_at
    annotation = annotation_insert(
        Annotation(seat_id=seat.pk if seat else None, surplus=seat is None),
        seating=seating,
        judgement=judgement,
        protocol=protocol,
        order_shown=order_shown,
        effort=effort_within(effort, min(opened_at, facts.draft_opened_at or opened_at)),
    )
    if seat:
        seat_transition(
            Seat.objects.filter(pk=seat.pk), Seat.State.FILLED, annotator=seating.annotator_id, lease_until=None
        )
    if facts.quota is not None:
        tally_count(annotator_id=seating.annotator_id, batch_id=facts.batch_id)
    if facts.sensitivity:
        exposure_add(annotator_id=seating.annotator_id, seconds=annotation.paid_seconds or 0)
    return annotation


def annotation_insert(
    annotation: Annotation,
    *,
    seating: Seating,
    judgement: Judgement,
    protocol: Protocol,
    order_shown: Sequence[int],
    effort: Effort,
) -> Annotation:
    """Write a judgement with its ratings in one statement, in the annotation's place; what was kept for it goes.

    The person's draft is gone then, and that they passed on the task: who skipped it in one tab and answered it in
    another did answer it. Must run in a transaction that has locked the annotator.
    """
    annotation.task_id, annotation.annotator_id, annotation.protocol = seating.task_id, seating.annotator_id, protocol
    annotation.edges, annotation.ranking = judgement.edges, judgement.tiers
    annotation.first_ranking, annotation.order_shown = judgement.first_tiers, list(order_shown)
    annotation.answers, annotation.confidence = judgement.answers, judgement.confidence
    annotation.rationale, annotation.idempotency_key = judgement.rationale, seating.key
    annotation.active_seconds, annotation.paid_seconds = effort.active_seconds, effort.paid_seconds
    annotation.active_by_stage = dict(effort.by_stage)
    annotation.marks, annotation.before_marks = judgement.marks, judgement.before_marks
    if judgement.edit:
        annotation.edit_of, text = judgement.edit
        annotation.edit = edit_make(task_id=seating.task_id, text=text)
    annotation.created_at = timezone.now()
    ratings = [
        {"slot": slot, "likert": said.likert, "answers": said.answers, "in_bulk": list(said.in_bulk)}
        for slot, said in judgement.ratings.items()
    ]
    values = {name: getattr(annotation, name) for name in COLUMNS}
    with prepared() as cursor:
        cursor.execute(INSERT, {**values, **{name: _json(values[name]) for name in JSON}, "ratings": _json(ratings)})
        (annotation.pk,) = cursor.fetchone()
    annotation._state.adding = False
    return annotation


def seat_for(seating: Seating) -> Seat | None:
    """The seat this work fills, locked: held by the person, else free at the task. None makes it surplus."""
    with prepared() as cursor:
        cursor.execute(OWN_SEAT, [seating.task_id, seating.annotator_id])
        row = cursor.fetchone()
    if row is not None:
        own: Seat = instances(iter(row), [Seat])[0]
        return own
    seats = Seat.objects.select_for_update(no_key=True).filter(task_id=seating.task_id)
    return seats.filter(state=Seat.State.OPEN).order_by("position").first()


def effort_within(effort: Effort, opened_at: datetime) -> Effort:
    """No more of each than has passed since the page was opened."""
    return Effort(
        active_seconds=seconds_within(effort.active_seconds, opened_at),
        paid_seconds=seconds_within(effort.paid_seconds, opened_at),
        by_stage={stage: seconds_within(seconds, opened_at) or 0 for stage, seconds in effort.by_stage.items()},
    )


def _facts(seating: Seating) -> Facts:
    """Lock the person, then read what is known of them and a task that they submit."""
    with prepared() as cursor:
        cursor.execute("SELECT id FROM labelapp_annotator WHERE id = %s FOR NO KEY UPDATE", [seating.annotator_id])
        cursor.execute(FACTS, {"task": seating.task_id, "annotator": seating.annotator_id})
        return Facts(*cursor.fetchone())


def _json(value: object) -> str | None:
    return None if value is None else json.dumps(value)


def seconds_within(seconds: int | None, opened_at: datetime) -> int | None:
    """No more than has passed since the page was opened; the page's clock may be wrong."""
    if seconds is None:
        return None
    return max(0, min(seconds, int((timezone.now() - opened_at).total_seconds()) + 1))
