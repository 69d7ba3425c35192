"""Which open batches are for a person, roughly how much waits in each, and why the others are not for them."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import connection
from django.db.models import F
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from labelapp.accounts.languages import language_name
from labelapp.accounts.sensitivity import category_label
from labelapp.models import Annotator, Batch, BatchTally

PLENTY = 50
"""Where counting stops: the start page says roughly how much waits, whatever the length of the queues."""

ROUGHLY = {
    0: gettext_lazy("nothing for you now"),
    1: gettext_lazy("a few tasks wait"),
    10: gettext_lazy("dozens of tasks wait"),
    PLENTY: gettext_lazy("many tasks wait"),
}

# Every pool of the open batches, with how many of its seats could come to the person, counted up to a limit: from
# where their cursor stands, as the next seat is found, so that what they have done is not walked through again.
POOLS = """
SELECT me.id, pool.batch_id, pool.language, pool.skills, pool.sensitivity, waiting.seats
FROM labelapp_annotator me
JOIN labelapp_batch batch ON batch.project_id = me.project_id AND batch.state = 'open'
JOIN labelapp_pool pool ON pool.batch_id = batch.id
LEFT JOIN labelapp_seatcursor reached ON reached.pool_id = pool.id AND reached.annotator_id = me.id
CROSS JOIN LATERAL (
    SELECT count(*) AS seats FROM (
        SELECT 1 FROM labelapp_seat seat
        WHERE seat.pool_id = pool.id AND seat.state = 'open' AND seat.position > coalesce(reached.position, 0)
          AND seat.position >= pool.head
          AND NOT EXISTS (SELECT 1 FROM labelapp_annotation done
                          WHERE done.task_id = seat.task_id AND done.annotator_id = me.id
                            AND done.supersedes_id IS NULL)
          AND NOT EXISTS (SELECT 1 FROM labelapp_demonstration written
                          WHERE written.task_id = seat.task_id AND written.annotator_id = me.id)
          AND NOT EXISTS (SELECT 1 FROM labelapp_taskskip skip
                          WHERE skip.task_id = seat.task_id AND skip.annotator_id = me.id)
        ORDER BY seat.position
        LIMIT %(plenty)s
    ) AS counted
) AS waiting
WHERE me.id = ANY(%(annotators)s)
"""


@dataclass(frozen=True)
class Offer:
    """An open batch as one person finds it."""

    batch: Batch
    waiting: int
    why_not: str = ""

    @property
    def roughly(self) -> str | Promise:
        """How much waits, in words."""
        return ROUGHLY[max(step for step in ROUGHLY if step <= self.waiting)]


@dataclass(frozen=True)
class _Pool:
    """Seats for the same people, as one person finds them."""

    language: str
    skills: Sequence[str]
    sensitivity: Sequence[str]
    seats: int


def offers_for(annotators: Sequence[Annotator]) -> dict[int, list[Offer]]:
    """The open batches of each annotator's project by annotator, the most urgent first; in three queries."""
    pools = _pools(annotators)
    open_batches = Batch.objects.filter(
        project__in={annotator.project_id for annotator in annotators}, state=Batch.State.OPEN
    )
    given = {
        (tally.annotator_id, tally.batch_id): tally.labels
        for tally in BatchTally.objects.filter(annotator__in=annotators, batch__in=open_batches)
    }
    urgent_first = open_batches.select_related("protocol").order_by(
        "-priority", F("deadline").asc(nulls_last=True), "pk"
    )
    offers: dict[int, list[Offer]] = defaultdict(list)
    for batch in urgent_first:
        for annotator in annotators:
            if annotator.project_id == batch.project_id:
                key = (annotator.pk, batch.pk)
                offers[annotator.pk].append(_offer(batch, annotator, pools[key], given.get(key, 0)))
    return offers


def _pools(annotators: Sequence[Annotator]) -> dict[tuple[int, int], list[_Pool]]:
    """By annotator and batch."""
    pools: dict[tuple[int, int], list[_Pool]] = defaultdict(list)
    with connection.cursor() as cursor:
        cursor.execute(POOLS, {"annotators": [annotator.pk for annotator in annotators], "plenty": PLENTY})
        for annotator_id, batch_id, *pool in cursor.fetchall():
            pools[annotator_id, batch_id].append(_Pool(*pool))
    return pools


def _offer(batch: Batch, annotator: Annotator, pools: Sequence[_Pool], given: int) -> Offer:
    if batch.quota is not None and given >= batch.quota:
        return Offer(batch, 0, _("You have given the %(count)d labels that one person may give.") % {"count": given})
    lacks = [_lacks(annotator, pool) for pool in pools]
    if lacks and all(lacks):
        return Offer(batch, 0, lacks[0])
    return Offer(batch, sum(pool.seats for pool, lack in zip(pools, lacks, strict=True) if not lack))


def _lacks(annotator: Annotator, pool: _Pool) -> str:
    """Why a pool is not for this person, in words; empty where it is."""
    skill = next((skill for skill in pool.skills if skill not in annotator.skills), None)
    if skill:
        return _("It asks for a skill: %(skill)s. Admins note who has it.") % {"skill": skill}
    if pool.language not in {"", *annotator.languages}:
        language = language_name(pool.language)
        return _("It is in %(language)s, which is not among your languages.") % {"language": language}
    category = next((key for key in pool.sensitivity if key not in annotator.accepts_sensitive), None)
    if category:
        return _("It has content that you did not opt in to: %(category)s.") % {"category": category_label(category)}
    return ""
