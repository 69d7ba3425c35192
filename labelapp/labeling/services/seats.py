"""Seats: each production task gets exactly its overlap of counted annotations, by as many different people."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Case, Exists, F, Func, Max, OuterRef, Q, QuerySet, Value, When
from django.db.models.functions import Now
from django.utils import timezone

from labelapp.labeling.services.exposure import exposure_add
from labelapp.labeling.services.queue import Seated, seat_next, seated_lock
from labelapp.models import (
    Annotation,
    Annotator,
    Batch,
    ComparisonTask,
    Demonstration,
    Draft,
    Pool,
    Prompt,
    Report,
    Seat,
    TaskSkip,
    TimeEntry,
    User,
)
from labelapp.statements import columns, instances, prepared

LEASE = timedelta(minutes=5)
RESERVATION = timedelta(minutes=2)
# A lease is renewed only while somebody works: input within this time, and no longer than the cap at a stretch.
INPUT_WINDOW = timedelta(minutes=10)
LEASE_CAP = timedelta(minutes=60)
LEASE_CAPS = {Batch.Work.COMPARISON: LEASE_CAP, Batch.Work.DEMONSTRATION: timedelta(hours=4)}

SKIPS_TO_TRIAGE = 3

NEXT_POSITION = Func(Value("labelapp_seat_position"), function="nextval")
NOBODY: dict[str, None] = {"annotator": None, "held_at": None, "input_at": None, "lease_until": None}
LEADS_TO = {
    Seat.State.OPEN: [Seat.State.RESERVED, Seat.State.HELD, Seat.State.WITHDRAWN],
    # From open it goes to these two in the statement that finds it, too (queue.py).
    Seat.State.RESERVED: [Seat.State.OPEN],
    Seat.State.HELD: [Seat.State.OPEN, Seat.State.RESERVED],
    Seat.State.WITHDRAWN: [Seat.State.OPEN, Seat.State.RESERVED, Seat.State.HELD],
    Seat.State.FILLED: [Seat.State.HELD, Seat.State.RESERVED, Seat.State.OPEN],
}
# Reports that keep a task away from everybody while they are open; when the task is removed, any does.
WITHDRAWING = [Report.Kind.PERSONAL_DATA, Report.Kind.SENSITIVE, Report.Kind.SKIPS]
IN_TRIAGE = Q(state=Report.State.REMOVED) | Q(state=Report.State.OPEN, kind__in=WITHDRAWING)
KEPT_AWAY = Exists(Report.objects.filter(IN_TRIAGE, task=OuterRef("task"))) | Exists(
    Prompt.objects.filter(tasks=OuterRef("task"), quarantined_at__isnull=False)
)

# Both rows of a person in one statement. What is no longer for them, since they opted out, is not renewed.
RENEWING = """
held AS (
    UPDATE labelapp_seat seat
    SET input_at = greatest(seat.input_at, %(input_at)s),
        lease_until = CASE WHEN greatest(seat.input_at, %(input_at)s) > %(input_since)s
                           THEN greatest(seat.lease_until, least(%(lease_until)s, seat.held_at + CASE batch.work
                               WHEN 'demonstration' THEN %(writing_cap)s ELSE %(cap)s END))
                           ELSE seat.lease_until END
    FROM labelapp_pool pool, labelapp_batch batch, labelapp_annotator person
    WHERE seat.annotator_id = %(annotator)s AND seat.task_id = %(task)s AND seat.state = 'held'
      AND pool.id = seat.pool_id AND batch.id = pool.batch_id AND person.id = seat.annotator_id
      AND pool.sensitivity <@ person.accepts_sensitive
    RETURNING seat.*
), ahead AS (
    UPDATE labelapp_seat seat
    SET lease_until = greatest(seat.lease_until, least(%(reserved_until)s, held.lease_until))
    FROM held, labelapp_pool pool, labelapp_annotator person
    WHERE seat.annotator_id = %(annotator)s AND seat.state = 'reserved'
      AND pool.id = seat.pool_id AND person.id = seat.annotator_id AND pool.sensitivity <@ person.accepts_sensitive
    RETURNING seat.task_id
)
"""
RENEWED = f"{columns(Seat, 'held')}, ahead.task_id AS ahead"
RENEW = f"WITH {RENEWING} SELECT {RENEWED} FROM held LEFT JOIN ahead ON true"  # noqa: S608 (words of our own)

TALLY = """
INSERT INTO labelapp_batchtally AS tally (annotator_id, batch_id, labels) VALUES (%s, %s, 1)
ON CONFLICT (annotator_id, batch_id) DO UPDATE SET labels = tally.labels + 1
"""


class Renewal(NamedTuple):
    """What a person still has: the seat they work at, and the task that is reserved for them as the next."""

    seat: Seat | None
    ahead: int | None


@transaction.atomic(savepoint=False)
def seat_take(*, annotator_id: int, work: Batch.Work = Batch.Work.COMPARISON) -> Seat | None:
    """Give a person their next task: the one they hold, else the one reserved for them, else the first in the queue.

    Two requests at once get the same seat, because the first statement locks the annotator. What they hold of other
    work goes back to the queue; what they have entered there stays as their draft.
    """
    seated = seated_lock(annotator_id)
    held, reserved = _own(seated, work)
    if held and _renew(held, work):
        return held
    if reserved and _show(reserved):
        return reserved
    return _next(seated, work)


@transaction.atomic(savepoint=False)
def seat_reserve(*, annotator_id: int, work: Batch.Work = Batch.Work.COMPARISON) -> Seat | None:
    """Keep the next task for somebody who works on one: the one reserved before, renewed, else the first in the queue.

    None when they hold nothing, or nothing more is there for them.
    """
    seated = seated_lock(annotator_id)
    held, reserved = _own(seated, work)
    if held is None:
        return None
    if reserved:
        reserved.lease_until = timezone.now() + RESERVATION
        if _still(reserved).update(lease_until=reserved.lease_until):
            return reserved
    return _next(seated, work, beside=held.task_id)


@transaction.atomic(savepoint=False)
def seat_show(*, annotator_id: int, task_id: int) -> Seat | None:
    """Let somebody who is done with their task hold the one reserved for them; its clock starts now.

    None when it was lost meanwhile or is not for them any more, in which case it goes back to the queue, and while they
    hold another. Shown twice is shown once.
    """
    held, reserved = _own(seated_lock(annotator_id))
    if held:
        return held if held.task_id == task_id else None
    return reserved if reserved and reserved.task_id == task_id and _show(reserved) else None


@transaction.atomic(savepoint=False)
def seat_onward(*, annotator_id: int, task_id: int) -> tuple[Seat | None, Seat | None]:
    """Show what was reserved, as `seat_show` does, and reserve the task after it, as `seat_reserve` does.

    Returns both; the second is None where there is none, or where the first is.
    """
    seated = seated_lock(annotator_id)
    held, reserved = _own(seated)
    if held or not reserved or reserved.task_id != task_id or not _show(reserved):
        return (held if held and held.task_id == task_id else None), None
    return reserved, _next(seated, Batch.Work.COMPARISON, beside=reserved.task_id)


def annotator_lock(annotator_id: int) -> Annotator:
    """Let one person's requests pass one after the other. The first lock of whoever takes several."""
    return Annotator.objects.select_for_update(no_key=True).get(pk=annotator_id)


def seat_transition(seats: QuerySet[Seat], to: Seat.State, **fields: Any) -> int:
    """The one place where a seat changes its state; seats whose state does not lead there stay. Counts the changed.

    What would be open again is withdrawn where its task is in triage or removed, or its prompt in quarantine.
    """
    state: Any = to
    if to == Seat.State.OPEN:
        fields = {**NOBODY, "position": NEXT_POSITION, **fields}
        state = Case(When(KEPT_AWAY, then=Value(Seat.State.WITHDRAWN)), default=Value(Seat.State.OPEN))
    elif to == Seat.State.WITHDRAWN:
        fields = {**NOBODY, **fields}
    return seats.filter(state__in=LEADS_TO[to]).update(state=state, **fields)


def seat_heartbeat(*, annotator_id: int, task_id: int, idle_seconds: int) -> Renewal:
    """Renew the lease of a held seat while its holder works, and what is reserved for them; return what they have.

    `idle_seconds` is how long ago the person last did something on the page.
    """
    with prepared() as cursor:
        cursor.execute(RENEW, renewal_asked(annotator_id=annotator_id, task_id=task_id, idle_seconds=idle_seconds))
        row = cursor.fetchone()
    return renewal_read(row)


def renewal_asked(*, annotator_id: int, task_id: int, idle_seconds: int) -> dict[str, Any]:
    """The values of `RENEWING`."""
    now = timezone.now()
    return {
        "annotator": annotator_id,
        "task": task_id,
        "input_at": now - timedelta(seconds=max(idle_seconds, 0)),
        "input_since": now - INPUT_WINDOW,
        "lease_until": now + LEASE,
        "reserved_until": now + RESERVATION,
        "cap": LEASE_CAP,
        "writing_cap": LEASE_CAPS[Batch.Work.DEMONSTRATION],
    }


def renewal_read(row: Sequence[Any] | None) -> Renewal:
    """What a row of `RENEWED` says."""
    if row is None or row[0] is None:
        return Renewal(None, None)
    columns_left = iter(row)
    return Renewal(instances(columns_left, [Seat])[0], next(columns_left))


@transaction.atomic
def seats_expire() -> int:
    """Put seats whose lease ran out, or whose holder has opted out, back into the queue; return how many."""
    somebodys = Q(state__in=[Seat.State.HELD, Seat.State.RESERVED])
    lost = Q(lease_until__lt=Now()) | ~Q(pool__sensitivity__contained_by=F("annotator__accepts_sensitive"))
    seats = Seat.objects.select_for_update(skip_locked=True, no_key=True, of=("self",)).filter(somebodys, lost)
    return seat_transition(Seat.objects.filter(pk__in=[seat.pk for seat in seats]), Seat.State.OPEN)


@transaction.atomic
def task_skip(
    *,
    annotator_id: int,
    task: ComparisonTask,
    reason: TaskSkip.Reason,
    note: str = "",
    paid_seconds: int | None = None,
) -> None:
    """Pass on a task for good: it goes back to the queue and never returns to this person, nor does their draft.

    The time they held it is paid: what the page counted, or all of it where no page did. Twice is once, and what was
    submitted meanwhile is not passed on. When three people have, reviewers look at the task before it goes on.
    """
    annotator = annotator_lock(annotator_id)
    # Two who skip at once are counted one after the other.
    ComparisonTask.objects.select_for_update(no_key=True).get(pk=task.pk)
    if task_leave(annotator=annotator, task=task, reason=reason, note=note, paid_seconds=paid_seconds):
        _skips_triage(task)


def task_leave(
    *, annotator: Annotator, task: ComparisonTask, reason: TaskSkip.Reason, note: str, paid_seconds: int | None
) -> bool:
    """Take a task from a locked annotator for good, paying its time; False when they are done with it already."""
    own = {"task": task, "annotator": annotator}
    if any(answers.objects.filter(supersedes=None, **own).exists() for answers in (Annotation, Demonstration)):
        return False
    _, new = TaskSkip.objects.get_or_create(**own, defaults={"reason": reason, "note": note[:500]})
    since, until = _at_work(own)
    if new and since:
        seconds = _seconds_paid(since, until or since, paid_seconds)
        TimeEntry.objects.create(kind=TimeEntry.Kind.SKIPPED, seconds=seconds, **own)
        if task.prompt.sensitivity:
            exposure_add(annotator_id=annotator.pk, seconds=seconds)
    Draft.objects.filter(**own).delete()
    seat_transition(Seat.objects.filter(**own), Seat.State.OPEN)
    return new


@transaction.atomic
def seats_return(*, user: User, batch: Batch) -> int:
    """Give back what somebody has in a batch without passing on it: anybody may get it, they too. Counts the seats.

    Held and reserved both. What they have entered stays as their draft.
    """
    theirs = Seat.objects.filter(annotator__user=user, pool__batch=batch)
    return seat_transition(theirs, Seat.State.OPEN)


def drafts_forget() -> int:
    """Drop drafts that nobody touched for 30 days; return how many."""
    return Draft.objects.filter(saved_at__lt=timezone.now() - timedelta(days=30)).delete()[0]


def tally_count(*, annotator_id: int, batch_id: int) -> None:
    """Count a label that a person gave in a batch; to be called for batches with a quota."""
    with prepared() as cursor:
        cursor.execute(TALLY, [annotator_id, batch_id])


def _at_work(own: dict[str, Any]) -> tuple[datetime | None, datetime | None]:
    """Since when somebody is at a task, and their last input: by their seat, or by their draft if they lost it."""
    held = Seat.objects.filter(state=Seat.State.HELD, **own).values_list("held_at", "input_at").first()
    return held or Draft.objects.filter(**own).values_list("opened_at", "saved_at").first() or (None, None)


def _seconds_paid(since: datetime, last_input: datetime, counted: int | None) -> int:
    """What is paid for a task that was left: what the page counted, but no more than passed until input ceased."""
    passed = int((min(timezone.now(), last_input + INPUT_WINDOW) - since).total_seconds()) + 1
    return max(0, passed if counted is None else min(counted, passed))


def _skips_triage(task: ComparisonTask) -> None:
    """Put a task before reviewers when three people have skipped it since they last looked at it."""
    reports = Report.objects.filter(task=task, kind=Report.Kind.SKIPS)
    if reports.filter(state=Report.State.OPEN).exists():
        return
    skips = TaskSkip.objects.filter(task=task, annotator__kind=Annotator.Kind.PERSON)
    skips = skips.exclude(reason=TaskSkip.Reason.REPORTED)
    if looked_at := reports.aggregate(Max("closed_at"))["closed_at__max"]:
        skips = skips.filter(created_at__gt=looked_at)
    if skips.count() >= SKIPS_TO_TRIAGE:
        Report.objects.create(project_id=task.batch.project_id, task=task, kind=Report.Kind.SKIPS)
        waiting = Seat.objects.filter(task=task).exclude(state=Seat.State.HELD)
        seat_transition(waiting, Seat.State.WITHDRAWN)


def _next(seated: Seated, work: Batch.Work, beside: int = 0) -> Seat | None:
    """The first seat of the queue that is for the person: theirs now, or reserved beside the task that they hold.

    Before nothing is left, all of the queue is looked through.
    """
    to, lease = (Seat.State.RESERVED, RESERVATION) if beside else (Seat.State.HELD, LEASE)
    for rescan in (False, True):
        seat = seat_next(seated, to=to, lease=lease, work=work, beside=beside, rescan=rescan)
        if seat and rescan:
            Pool.objects.filter(pk=seat.pool_id, head__gt=seat.position).update(head=seat.position)
        if seat:
            return seat
    return None


def _own(seated: Seated, work: Batch.Work | None = None) -> tuple[Seat | None, Seat | None]:
    """What the person holds and what is reserved for them; what is not for them any more goes back to the queue."""
    kept = {}
    for own in seated.own:
        if own.fits and work in (None, own.work):
            kept[own.seat.state] = own.seat
        else:
            seat_transition(_still(own.seat), Seat.State.OPEN)
    return kept.get(Seat.State.HELD), kept.get(Seat.State.RESERVED)


def _still(seat: Seat) -> QuerySet[Seat]:
    """The seat's row as long as it is the person's in the same way: the sweep and triage do not wait for them."""
    return Seat.objects.filter(pk=seat.pk, annotator=seat.annotator_id, state=seat.state)


def _show(seat: Seat) -> bool:
    """Hold a reserved seat, its clock starting now; False when it was lost this moment."""
    now = timezone.now()
    held = {"held_at": now, "input_at": now, "lease_until": now + LEASE}
    shown = seat_transition(_still(seat), Seat.State.HELD, **held)
    seat.state, seat.held_at, seat.input_at, seat.lease_until = Seat.State.HELD, now, now, now + LEASE
    return bool(shown)


def _renew(seat: Seat, work: Batch.Work) -> bool:
    """Renew the lease of a held seat whose holder came back to it; False when it was lost this moment."""
    now = timezone.now()
    if seat.held_at is None or seat.lease_until is None or seat.lease_until < now:
        seat.held_at = now  # they were away: a new stretch begins
    seat.input_at, seat.lease_until = now, min(now + LEASE, seat.held_at + LEASE_CAPS[work])
    return bool(_still(seat).update(held_at=seat.held_at, input_at=now, lease_until=seat.lease_until))
