"""Pools: which people a seat is for, when it is made and when more becomes known about its prompt."""

from collections import defaultdict
from collections.abc import Sequence

from django.db import connection, transaction

from labelapp.labeling.selectors import pools_fit_for
from labelapp.labeling.services.seats import NEXT_POSITION, seat_transition
from labelapp.models import Batch, ComparisonTask, Pool, Project, Prompt, Seat

MOVING = [Seat.State.OPEN, Seat.State.RESERVED, Seat.State.HELD, Seat.State.WITHDRAWN]

HEADS_MOVE = """
UPDATE labelapp_pool pool SET head = first.position
FROM labelapp_pool old JOIN labelapp_batch batch ON batch.id = old.batch_id AND batch.state = 'open'
CROSS JOIN LATERAL (
    SELECT seat.position FROM labelapp_seat seat
    WHERE seat.pool_id = old.id AND seat.state = 'open' AND seat.position >= old.head
    ORDER BY seat.position LIMIT 1
) AS first
WHERE pool.id = old.id AND pool.head < first.position
"""


def pool_for(
    *,
    batch_id: int,
    prompt: Prompt,
    skills: Sequence[str],
    purpose: str = ComparisonTask.Purpose.PRODUCTION,
    boost: int = 0,
) -> Pool:
    """The pool whose labelers may see this prompt, made if it is the first of its kind in the batch."""
    language, needed, sensitivity = pool_key(prompt, skills)
    pool, _ = Pool.objects.get_or_create(
        batch_id=batch_id,
        purpose=purpose,
        language=language,
        skills=list(needed),
        sensitivity=list(sensitivity),
        boost=boost,
    )
    return pool


def pool_key(prompt: Prompt, skills: Sequence[str]) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """What a person needs to see this prompt: its language, the skills asked for, and its sensitive categories."""
    return prompt.language, tuple(sorted(set(skills))), tuple(sorted(set(prompt.sensitivity)))


@transaction.atomic
def seats_rehome(*, project: Project, prompt_ids: Sequence[int]) -> int:
    """Move the seats of these prompts to the pools of the people who may see them now; return how many moved.

    To be called in the transaction that changed the prompts' language or sensitive categories. Open seats go to the
    end of their new queue. Held and reserved seats go along, and back to the queue where their person may not see the
    prompt any more. Filled seats and closed batches stay as they are. Waits for builds and imports of the project.
    """
    if not prompt_ids:
        return 0
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    # The locked rows are those of now: a seat that somebody took a moment ago is seen as held.
    seats = (
        Seat.objects.select_for_update(no_key=True, of=("self",))
        .filter(task__prompt__in=prompt_ids, task__batch__project=project, state__in=MOVING)
        .exclude(task__batch__state=Batch.State.CLOSED)
        .select_related("task__prompt", "pool")
        .order_by("state", "pk")
    )
    moving: dict[Pool, list[Seat]] = defaultdict(list)
    homes: dict[tuple[object, ...], Pool] = {}
    for seat in seats:
        moving[_home(seat, homes)].append(seat)
    return sum(seats_move([seat for seat in group if seat.pool_id != pool.pk], pool) for pool, group in moving.items())


def seats_move(seats: Sequence[Seat], pool: Pool) -> int:
    """Put locked seats into another pool of their batch; who has one and does not fit there loses it. Counts them."""
    waiting = [seat.pk for seat in seats if seat.annotator_id is None]
    Seat.objects.filter(pk__in=waiting).update(pool=pool, position=NEXT_POSITION)
    for seat in seats:
        if seat.annotator is None:
            continue
        row = Seat.objects.filter(pk=seat.pk)
        if pools_fit_for(seat.annotator).filter(pk=pool.pk).exists():
            row.update(pool=pool)
        else:
            seat_transition(row, Seat.State.OPEN, pool=pool)
    return len(seats)


def pools_advance() -> int:
    """Note where the open seats of each queue begin now; return for how many queues that moved on.

    Filled seats leave dead entries at the head of a queue, which an old snapshot keeps there for its whole life: who is
    new would step over all of them.
    """
    with connection.cursor() as cursor:
        cursor.execute(HEADS_MOVE)
        return int(cursor.rowcount)


def _home(seat: Seat, homes: dict[tuple[object, ...], Pool]) -> Pool:
    """The pool that the seat belongs in; `homes` are those found before."""
    old, prompt = seat.pool, seat.task.prompt
    key = (old.pk, *pool_key(prompt, old.skills))
    if key not in homes:
        homes[key] = pool_for(
            batch_id=old.batch_id, prompt=prompt, skills=old.skills, purpose=old.purpose, boost=old.boost
        )
    return homes[key]
