"""Seats: each production task gets exactly its overlap of counted annotations, by as many different people."""

from datetime import timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import Case, F, Func, QuerySet, Value, When
from django.db.models.functions import Greatest, Least, Now
from django.db.models.lookups import GreaterThan
from django.utils import timezone

from labelapp.models import Annotation, Annotator, Batch, ComparisonTask, Draft, Seat, SeatCursor, TaskSkip, User

LEASE = timedelta(minutes=5)
# A lease is renewed only while somebody works: input within this time, and no longer than the cap at a stretch.
INPUT_WINDOW = timedelta(minutes=10)
LEASE_CAP = timedelta(minutes=60)

NEXT_POSITION = Func(Value("labelapp_seat_position"), function="nextval")
NOBODY: dict[str, None] = {"annotator": None, "held_at": None, "input_at": None, "lease_until": None}
LEADS_TO = {
    Seat.State.OPEN: [Seat.State.HELD],
    Seat.State.HELD: [Seat.State.OPEN],
    Seat.State.FILLED: [Seat.State.HELD, Seat.State.OPEN],
}

# One index range scan per pool, starting behind the person's cursor; pools in order until one has a seat.
# The lock is taken inside the lateral query, so a seat that somebody takes meanwhile is stepped over.
NEXT_SEAT = """
SELECT found.id, found.pool_id, found.position
FROM (
    SELECT pool.id, CASE WHEN %(rescan)s THEN 0 ELSE coalesce(reached.position, 0) END AS position,
           row_number() OVER (
               ORDER BY batch.priority DESC, pool.boost DESC, batch.deadline NULLS LAST, batch.id, pool.id
           ) AS turn
    FROM labelapp_pool pool
    JOIN labelapp_batch batch ON batch.id = pool.batch_id
    LEFT JOIN labelapp_seatcursor reached ON reached.pool_id = pool.id AND reached.annotator_id = %(annotator)s
    WHERE batch.project_id = %(project)s AND batch.state = 'open'
      AND (pool.language = '' OR pool.language = ANY(%(languages)s::varchar[]))
      AND pool.skills <@ %(skills)s::varchar[] AND pool.sensitivity <@ %(accepts)s::varchar[]
    ORDER BY turn
) AS pools
CROSS JOIN LATERAL (
    SELECT seat.id, seat.pool_id, seat.position
    FROM labelapp_seat seat
    WHERE seat.pool_id = pools.id AND seat.state = 'open' AND seat.position > pools.position
      AND NOT EXISTS (SELECT 1 FROM labelapp_annotation done
                      WHERE done.task_id = seat.task_id AND done.annotator_id = %(annotator)s
                        AND done.supersedes_id IS NULL)
      AND NOT EXISTS (SELECT 1 FROM labelapp_taskskip skip
                      WHERE skip.task_id = seat.task_id AND skip.annotator_id = %(annotator)s)
    ORDER BY seat.position
    LIMIT 1
    FOR UPDATE SKIP LOCKED
) AS found
ORDER BY pools.turn
LIMIT 1
"""


@transaction.atomic
def seat_take(*, annotator_id: int) -> Seat | None:
    """Give a person their next task: the one they hold, else the first open seat that is for them, else nothing.

    Two requests at once get the same seat, because the first statement locks the annotator.
    """
    annotator = annotator_lock(annotator_id)
    held = _held(annotator)
    if held:
        return held
    found = seat_find(annotator, rescan=False) or seat_find(annotator, rescan=True)
    if found is None:
        return None
    seat_id, pool_id, position = found
    SeatCursor.objects.bulk_create(
        [SeatCursor(annotator=annotator, pool_id=pool_id, position=position)],
        update_conflicts=True,
        unique_fields=["annotator", "pool"],
        update_fields=["position"],
    )
    now = timezone.now()
    seat = Seat.objects.filter(pk=seat_id)
    seat_transition(seat, Seat.State.HELD, annotator=annotator, held_at=now, input_at=now, lease_until=now + LEASE)
    return seat.get()


def annotator_lock(annotator_id: int) -> Annotator:
    """Let one person's requests pass one after the other. The first lock of whoever takes several."""
    return Annotator.objects.select_for_update(no_key=True).get(pk=annotator_id)


def seat_transition(seats: QuerySet[Seat], to: Seat.State, **fields: Any) -> int:
    """The one place where a seat changes its state; seats whose state does not lead there stay. Counts the changed."""
    if to == Seat.State.OPEN:
        fields = {**NOBODY, "position": NEXT_POSITION, **fields}
    return seats.filter(state__in=LEADS_TO[to]).update(state=to, **fields)


def seat_heartbeat(*, annotator_id: int, task_id: int, idle_seconds: int) -> Seat | None:
    """Renew the lease of a held seat while its holder works; return the seat, or None when it was given away.

    `idle_seconds` is how long ago the person last did something on the page.
    """
    now = timezone.now()
    input_at = Greatest(F("input_at"), Value(now - timedelta(seconds=max(idle_seconds, 0))))
    renewed = Greatest(F("lease_until"), Least(Value(now + LEASE), F("held_at") + Value(LEASE_CAP)))
    held = Seat.objects.filter(annotator_id=annotator_id, task_id=task_id, state=Seat.State.HELD)
    held.update(
        input_at=input_at,
        lease_until=Case(
            When(GreaterThan(input_at, Value(now - INPUT_WINDOW)), then=renewed), default=F("lease_until")
        ),
    )
    return held.first()


@transaction.atomic
def seats_expire() -> int:
    """Put seats whose lease ran out back into the queue, each at a new position; return how many."""
    expired = Seat.objects.select_for_update(skip_locked=True, no_key=True).filter(
        state=Seat.State.HELD, lease_until__lt=Now()
    )
    return seat_transition(Seat.objects.filter(pk__in=[seat.pk for seat in expired]), Seat.State.OPEN)


@transaction.atomic
def task_skip(*, annotator_id: int, task: ComparisonTask, reason: TaskSkip.Reason, note: str = "") -> None:
    """Pass on a task for good: it goes back to the queue and never returns to this person, nor does their draft.

    Twice is once, and what was submitted meanwhile is not passed on.
    """
    annotator = annotator_lock(annotator_id)
    if Annotation.objects.filter(task=task, annotator=annotator, supersedes__isnull=True).exists():
        return
    TaskSkip.objects.get_or_create(task=task, annotator=annotator, defaults={"reason": reason, "note": note[:500]})
    Draft.objects.filter(task=task, annotator=annotator).delete()
    seat_transition(Seat.objects.filter(task=task, annotator=annotator), Seat.State.OPEN)


@transaction.atomic
def seats_return(*, user: User, batch: Batch) -> int:
    """Give back what somebody holds in a batch without passing on it: anybody may get it, they too. Counts the seats.

    What they have entered stays as their draft.
    """
    held = Seat.objects.filter(annotator__user=user, pool__batch=batch, state=Seat.State.HELD)
    return seat_transition(held, Seat.State.OPEN)


def drafts_forget() -> int:
    """Drop drafts that nobody touched for 30 days; return how many."""
    return Draft.objects.filter(saved_at__lt=timezone.now() - timedelta(days=30)).delete()[0]


def seat_find(annotator: Annotator, *, rescan: bool) -> tuple[int, int, int] | None:
    """The next open seat for a person, locked: its id, pool and position. Must run in a transaction.

    A rescan looks from the start of every queue instead of from where the person's cursors stand.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            NEXT_SEAT,
            {
                "annotator": annotator.pk,
                "project": annotator.project_id,
                "languages": annotator.languages,
                "skills": annotator.skills,
                "accepts": annotator.accepts_sensitive,
                "rescan": rescan,
            },
        )
        found: tuple[int, int, int] | None = cursor.fetchone()
        return found


def _held(annotator: Annotator) -> Seat | None:
    """The seat that the person holds, its lease renewed; one that is no longer for them goes back to the queue."""
    seats = Seat.objects.select_for_update(no_key=True, of=("self",)).select_related("pool__batch")
    seat = seats.filter(annotator=annotator, state=Seat.State.HELD).first()
    if seat is None:
        return None
    if not _still_for(annotator, seat):
        seat_transition(Seat.objects.filter(pk=seat.pk), Seat.State.OPEN)
        return None
    now = timezone.now()
    if seat.held_at is None or seat.lease_until is None or seat.lease_until < now:
        seat.held_at = now  # they were away: a new stretch begins
    seat.input_at, seat.lease_until = now, min(now + LEASE, seat.held_at + LEASE_CAP)
    seat.save(update_fields=["held_at", "input_at", "lease_until"])
    return seat


def _still_for(annotator: Annotator, seat: Seat) -> bool:
    """Whether the batch is not closed and the person still qualifies; they may have opted out of its content."""
    pool = seat.pool
    return (
        pool.batch.state != Batch.State.CLOSED
        and pool.language in {"", *annotator.languages}
        and set(pool.skills) <= set(annotator.skills)
        and set(pool.sensitivity) <= set(annotator.accepts_sensitive)
    )
