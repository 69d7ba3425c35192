"""Which demonstrations a snapshot takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import Exists, OuterRef, QuerySet, Value

from labelapp.datasets.freeze_options import FreezeOptions
from labelapp.datasets.selection import Cause, annotator_cause, settled
from labelapp.models import ComparisonTask, Demonstration

ROWS_AT_ONCE = 1000
FIELDS = (
    *("pk", "prompt_id", "prompt__split", "annotator_id", "annotator__kind", "annotator__group"),
    *("created_at", "text", "superseded", "repeated", "out_of_reach"),
)


@dataclass(frozen=True, slots=True)
class Said:
    """A demonstration with what decides whether it is taken."""

    pk: int
    prompt: int
    split: str
    annotator: int
    kind: str
    group: str
    created_at: datetime
    text: str
    superseded: bool
    repeated: bool
    out_of_reach: bool


def demonstration_cause(said: Said, options: FreezeOptions, as_of: datetime) -> Cause | None:
    """Why a demonstration was not taken at that moment; None when it was."""
    causes = [
        (said.created_at > as_of, Cause.LATER),
        (not options.demonstrations, Cause.UNWANTED),
        (said.out_of_reach, Cause.BATCH),
        (said.split not in options.splits, Cause.SPLIT),
        (said.superseded, Cause.SUPERSEDED),
        (said.repeated, Cause.REPEATED),
        (not said.text.strip(), Cause.EMPTY),
    ]
    for holds, cause in causes:
        if holds:
            return cause
    cause_of_annotator = annotator_cause(said.annotator, said.kind, said.group, options)
    if cause_of_annotator is None and not settled(said.created_at, options, as_of):
        return Cause.FRESH
    return cause_of_annotator


def demonstrations_of(project_id: int, as_of: datetime, batches: Sequence[int]) -> Iterator[list[Said]]:
    """All demonstrations of a project up to a moment, rising by id, some at a time."""
    found = demonstrations_seen(as_of, batches).filter(prompt__project=project_id, created_at__lte=as_of)
    last = 0
    while chunk := [Said(*row) for row in found.filter(pk__gt=last).order_by("pk").values_list(*FIELDS)[:ROWS_AT_ONCE]]:
        yield chunk
        last = chunk[-1].pk


def demonstrations_seen(as_of: datetime, batches: Sequence[int]) -> "QuerySet[Demonstration]":
    """Demonstrations with what was so at a moment: a newer one by the same annotator, and whether the prompt is in one
    of the batches, if any are given.
    """
    there = Demonstration.objects.filter(created_at__lte=as_of)
    newer = there.filter(prompt=OuterRef("prompt"), annotator=OuterRef("annotator"), pk__gt=OuterRef("pk"))
    reached = Exists(ComparisonTask.objects.filter(prompt=OuterRef("prompt"), batch__in=batches))
    return Demonstration.objects.annotate(
        superseded=Exists(there.filter(supersedes=OuterRef("pk"))),
        repeated=Exists(newer),
        out_of_reach=~reached if batches else Value(False),
    )
