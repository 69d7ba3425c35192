"""The queue: one statement finds the next open seat for a person, gives it to them and moves their cursor.

Written in SQL, for all of it is asked for with every task of everybody.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.utils import timezone

from labelapp.labeling.services.exposure import exposure_limited, is_enough
from labelapp.models import Annotator, Batch, Exposure, Seat
from labelapp.statements import columns, instances, prepared

# Each by its own partial index; the two states in one condition would read all that a person ever filled.
OWN = """
SELECT id FROM labelapp_seat WHERE annotator_id = %(annotator)s AND state = 'held'
UNION ALL
SELECT id FROM labelapp_seat WHERE annotator_id = %(annotator)s AND state = 'reserved'
"""
LABELS = """
coalesce((SELECT tally.labels FROM labelapp_batchtally tally
          WHERE tally.annotator_id = %(annotator)s AND tally.batch_id = batch.id), 0)
"""

# A person with what they hold and what is reserved for them. What was shown may be finished in a paused batch and
# beyond the quota; what was not is not shown there.
SEATED = f"""
SELECT {columns(Annotator, "person")}, {columns(Exposure, "seen")}, {columns(Seat, "own")},
       own.work, own.sensitivity, own.fits
FROM labelapp_annotator person
LEFT JOIN labelapp_exposure seen ON seen.annotator_id = person.id
LEFT JOIN LATERAL (
    SELECT {columns(Seat, "seat")}, batch.work, pool.sensitivity,
           (pool.language = '' OR pool.language = ANY(person.languages))
           AND pool.skills <@ person.skills AND pool.sensitivity <@ person.accepts_sensitive
           AND CASE WHEN seat.state = 'held' THEN batch.state <> 'closed'
                    ELSE batch.state = 'open' AND (batch.quota IS NULL OR {LABELS} < batch.quota) END AS fits
    FROM labelapp_seat seat
    JOIN labelapp_pool pool ON pool.id = seat.pool_id JOIN labelapp_batch batch ON batch.id = pool.batch_id
    WHERE seat.id IN ({OWN})
) AS own ON true
WHERE person.id = %(annotator)s
"""  # noqa: S608 (words of our own)

# The pools that a person may be seated from, in the order in which they are served.
POOLS = f"""
SELECT pool.id, CASE WHEN %(rescan)s THEN 0 ELSE greatest(reached.position, pool.head - 1) END AS position,
       row_number() OVER (
           ORDER BY batch.priority DESC, pool.boost DESC, batch.deadline NULLS LAST, batch.id, pool.id
       ) AS turn
FROM labelapp_pool pool
JOIN labelapp_batch batch ON batch.id = pool.batch_id
LEFT JOIN labelapp_seatcursor reached ON reached.pool_id = pool.id AND reached.annotator_id = %(annotator)s
WHERE batch.project_id = %(project)s AND batch.state = 'open' AND batch.work = %(work)s
  AND (pool.language = '' OR pool.language = ANY(%(languages)s::varchar[]))
  AND pool.skills <@ %(skills)s::varchar[] AND pool.sensitivity <@ %(accepts)s::varchar[]
  AND (batch.quota IS NULL
       OR {LABELS} + (SELECT count(*) FROM labelapp_seat own JOIN labelapp_pool theirs ON theirs.id = own.pool_id
                      WHERE theirs.batch_id = batch.id AND own.id IN ({OWN})) < batch.quota)
ORDER BY turn
"""  # noqa: S608 (words of our own)

# One index range scan per pool, starting behind the person's cursor; pools in order until one has a seat.
FIRST_SEAT = """
SELECT seat.id
FROM labelapp_seat seat
WHERE seat.pool_id = pools.id AND seat.state = 'open' AND seat.position > pools.position
  AND seat.task_id <> %(beside)s
  AND NOT EXISTS (SELECT 1 FROM {done} done
                  WHERE done.task_id = seat.task_id AND done.annotator_id = %(annotator)s
                    AND done.supersedes_id IS NULL)
  AND NOT EXISTS (SELECT 1 FROM labelapp_taskskip skip
                  WHERE skip.task_id = seat.task_id AND skip.annotator_id = %(annotator)s)
ORDER BY seat.position
LIMIT 1
"""

FIND = f"""
SELECT found.id FROM ({POOLS}) AS pools CROSS JOIN LATERAL ({FIRST_SEAT} {{lock}}) AS found
ORDER BY pools.turn LIMIT 1
"""  # noqa: S608 (words of our own)

# The lock is taken inside the lateral query, so a seat that somebody takes meanwhile is stepped over.
TAKE = f"""
WITH found AS ({FIND}), taken AS (
    UPDATE labelapp_seat seat
    SET state = %(to)s, annotator_id = %(annotator)s, held_at = %(held_at)s, input_at = %(now)s,
        lease_until = %(lease_until)s
    FROM found WHERE seat.id = found.id AND seat.state = 'open'
    RETURNING {columns(Seat, "seat")}
), reached AS (
    INSERT INTO labelapp_seatcursor (annotator_id, pool_id, position)
    SELECT annotator_id, pool_id, position FROM taken
    ON CONFLICT (annotator_id, pool_id) DO UPDATE SET position = excluded.position
)
SELECT {columns(Seat, "taken")} FROM taken
"""  # noqa: S608 (words of our own)

WAIT = f"""
SELECT EXISTS (SELECT 1 FROM labelapp_seat seat JOIN labelapp_pool pool ON pool.id = seat.pool_id
               JOIN labelapp_batch batch ON batch.id = pool.batch_id
               WHERE batch.work = %(work)s AND seat.id IN ({OWN}))
    OR EXISTS ({FIND})
"""  # noqa: S608 (words of our own)

DONE = {Batch.Work.COMPARISON: "labelapp_annotation", Batch.Work.DEMONSTRATION: "labelapp_demonstration"}
TAKES = {work: TAKE.format(done=done, lock="FOR NO KEY UPDATE SKIP LOCKED") for work, done in DONE.items()}
WAITS = {work: WAIT.format(done=done, lock="") for work, done in DONE.items()}


@dataclass(frozen=True)
class Seated:
    """A person, locked, with what they have."""

    annotator: Annotator
    exposure: Exposure | None
    own: list["Own"]


@dataclass(frozen=True)
class Own:
    """A seat that a person had a moment ago: the sweep and triage do not wait for them."""

    seat: Seat
    work: Batch.Work
    fits: bool


def seated_lock(annotator_id: int) -> Seated:
    """Lock a person, then read what they have: a request that waited for another of theirs sees what that one did."""
    with prepared() as cursor:
        cursor.execute("SELECT id FROM labelapp_annotator WHERE id = %s FOR NO KEY UPDATE", [annotator_id])
        cursor.execute(SEATED, {"annotator": annotator_id})
        rows = cursor.fetchall()
    if not rows:
        raise Annotator.DoesNotExist
    own = []
    for values in map(iter, rows):
        annotator, exposure, seat = instances(values, [Annotator, Exposure, Seat])
        known = exposure if exposure.pk else None
        work, sensitivity, fits = values
        if seat.pk:
            kept = seat.state == Seat.State.HELD or not (sensitivity and is_enough(known, timezone.now()))
            own.append(Own(seat, Batch.Work(work), fits and kept))
    return Seated(annotator, known, own)


def seat_next(
    seated: Seated, *, to: Seat.State, lease: timedelta, work: Batch.Work, beside: int, rescan: bool
) -> Seat | None:
    """Seat a person at their next task, held or reserved; None when no seat is for them. Must run in a transaction.

    `beside` is the task that they hold meanwhile, 0 for none: another seat of it is not for them. A rescan looks from
    the start of every queue instead of from where the person's cursors stand.
    """
    now = timezone.now()
    given: dict[str, Any] = {
        "to": to.value,
        "now": now,
        "held_at": now if to == Seat.State.HELD else None,
        "lease_until": now + lease,
        "beside": beside,
        "rescan": rescan,
    }
    with prepared() as cursor:
        cursor.execute(TAKES[work], {**_person(seated.annotator, work, is_enough(seated.exposure, now)), **given})
        row = cursor.fetchone()
    return instances(iter(row), [Seat])[0] if row else None


def seat_waits(annotator: Annotator, *, work: Batch.Work = Batch.Work.COMPARISON) -> bool:
    """Whether a person has a seat, or one is open for them. Takes nothing and locks nothing."""
    person = _person(annotator, work, exposure_limited(annotator, timezone.now()))
    with prepared() as cursor:
        cursor.execute(WAITS[work], {**person, "beside": 0, "rescan": True})
        (waits,) = cursor.fetchone()
    return bool(waits)


def _person(annotator: Annotator, work: Batch.Work, enough: bool) -> dict[str, Any]:
    """What the queue asks of a person. Who has seen enough sensitive content goes on with the rest."""
    return {
        "annotator": annotator.pk,
        "project": annotator.project_id,
        "languages": annotator.languages,
        "skills": annotator.skills,
        "accepts": [] if enough else annotator.accepts_sensitive,
        "work": work.value,
    }
