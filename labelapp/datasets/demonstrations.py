"""Which demonstrations a snapshot takes."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db.models import BooleanField, Case, Exists, OuterRef, QuerySet, Value, When

from labelapp.datasets.freeze_options import FreezeOptions
from labelapp.datasets.selection import Cause, annotator_cause, quarantined, settled
from labelapp.models import ComparisonTask, Demonstration

ROWS_AT_ONCE = 1000
FIELDS = (
    *("pk", "prompt_id", "prompt__split", "prompt__quarantined_at", "annotator_id", "annotator__kind"),
    *("annotator__group", "created_at", "text", "surplus", "superseded", "repeated", "out_of_reach"),
)


@dataclass(frozen=True, slots=True)
class Said:
    """A demonstration with what decides whether it is taken."""

    pk: int
    prompt: int
    split: str
    quarantined_at: datetime | None
    annotator: int
    kind: str
    group: str
    created_at: datetime
    text: str
    surplus: bool
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
        (quarantined(said.quarantined_at, as_of), Cause.QUARANTINED),
        (said.superseded, Cause.SUPERSEDED),
        (said.surplus and not options.include_surplus, Cause.SURPLUS),
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


def demonstrations_of(project_id: int, as_of: datetime, options: FreezeOptions) -> Iterator[list[Said]]:
    """All demonstrations of a project up to a moment, rising by id, some at a time."""
    found = demonstrations_seen(as_of, options).filter(prompt__project=project_id, created_at__lte=as_of)
    last = 0
    while chunk := [Said(*row) for row in found.filter(pk__gt=last).order_by("pk").values_list(*FIELDS)[:ROWS_AT_ONCE]]:
        yield chunk
        last = chunk[-1].pk


def demonstrations_seen(as_of: datetime, options: FreezeOptions) -> "QuerySet[Demonstration]":
    """Demonstrations with what was so at a moment: whether a newer one by the same annotator took their place, and
    whether they are out of reach of the batches, if any are named.

    What was written for a task is of its batch; what came with an import is of every batch that has the prompt.
    """
    there = Demonstration.objects.filter(created_at__lte=as_of)
    newer = there.filter(prompt=OuterRef("prompt"), annotator=OuterRef("annotator"), pk__gt=OuterRef("pk"))
    if not options.include_surplus:
        newer = newer.filter(surplus=False)  # what is left out itself takes nobody's place
    return Demonstration.objects.annotate(
        superseded=Exists(there.filter(supersedes=OuterRef("pk"))),
        repeated=Exists(newer),
        out_of_reach=_out_of_reach(options.batches),
    )


def _out_of_reach(batches: Sequence[int]) -> Case | Value:
    if not batches:
        return Value(False)
    reached = Exists(ComparisonTask.objects.filter(prompt=OuterRef("prompt"), batch__in=batches))
    return Case(
        When(task__isnull=True, then=~reached),
        When(task__batch__in=batches, then=Value(False)),
        default=Value(True),
        output_field=BooleanField(),
    )
