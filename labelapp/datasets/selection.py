"""Which labels of a task count, and why the others do not. Pure: the same for a freeze and for telling two apart."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from labelapp.datasets.freeze_options import FreezeOptions
from labelapp.labeling.ordering import Edge
from labelapp.models import ComparisonTask

Purpose = ComparisonTask.Purpose
LEARNED_FROM = {Purpose.PRODUCTION, Purpose.EVALUATION, Purpose.CALIBRATION, Purpose.ADJUDICATION}
"""The other purposes check or train labelers."""


class Cause(StrEnum):
    """Why a label is not in a snapshot."""

    LATER = "later"
    BATCH = "batch"
    SPLIT = "split"
    PURPOSE = "purpose"
    QUARANTINED = "quarantined"
    SUPERSEDED = "superseded"
    REPEATED = "repeated"
    SURPLUS = "surplus"
    KIND = "kind"
    GROUP = "group"
    WEIGHT = "weight"
    FRESH = "fresh"
    ONE_COMPLETION = "one_completion"
    NO_EDGES = "no_edges"
    TIES_ONLY = "ties_only"
    EMPTY = "empty"
    UNWANTED = "unwanted"


CAUSES = {
    Cause.LATER: "came later",
    Cause.BATCH: "of another batch",
    Cause.SPLIT: "on a prompt of another split",
    Cause.PURPOSE: "on a task that checks labelers",
    Cause.QUARANTINED: "on a prompt in quarantine",
    Cause.SUPERSEDED: "corrected by a newer one",
    Cause.REPEATED: "older than another by the same annotator",
    Cause.SURPLUS: "surplus: came after all places were filled",
    Cause.KIND: "by another kind of annotator",
    Cause.GROUP: "by an annotator of another group",
    Cause.WEIGHT: "by an annotator who weighs 0",
    Cause.FRESH: "too fresh: could still be corrected",
    Cause.ONE_COMPLETION: "no comparison: there is one completion only",
    Cause.NO_EDGES: "no comparison: nothing was ranked",
    Cause.TIES_ONLY: "nothing but ties, which are left out",
    Cause.EMPTY: "without any words",
    Cause.UNWANTED: "of a sort that was not asked for",
}
"""As people read it, after a number of labels."""


@dataclass(frozen=True, slots=True)
class Task:
    """What decides whether labels of a task are taken."""

    pk: int
    prompt: int
    split: str
    batch: int
    purpose: str
    quarantined_at: datetime | None = None
    protocol: int = 0
    likert_points: int = 0


@dataclass(frozen=True, slots=True)
class Label:
    """What decides whether a label is taken, and what is taken of it. Edges go by slots of the task.

    `order_shown` has the slots in the order of their letters, and is empty where that is not known. `edit` is the
    completion that improves the one in slot `edit_of`; None where it is one of the task's anyway.
    """

    pk: int
    task: int
    annotator: int
    kind: str
    group: str
    created_at: datetime
    supersedes: int | None = None
    surplus: bool = False
    edges: Sequence[Edge] = ()
    edit: int | None = None
    edit_of: int | None = None
    rationale: str = ""
    order_shown: Sequence[int] = ()

    def beaten_by_edit(self) -> list[int]:
        """The slots that the edit is preferred to: the one it improves, and all that this one beats or ties."""
        if self.edit is None or self.edit_of is None:
            return []
        beaten = {self.edit_of}
        for a, b, outcome, *_ in self.edges:
            if a == self.edit_of:
                beaten.add(b)
            elif b == self.edit_of and outcome == "=":
                beaten.add(a)
        return sorted(beaten)


def task_cause(task: Task, options: FreezeOptions, as_of: datetime) -> Cause | None:
    """Why no label of this task is taken; None when they may be. Rounds must have been turned into batches."""
    if options.batches and task.batch not in options.batches:
        return Cause.BATCH
    if task.split not in options.splits:
        return Cause.SPLIT
    if task.purpose not in LEARNED_FROM:
        return Cause.PURPOSE
    return Cause.QUARANTINED if quarantined(task.quarantined_at, as_of) else None


def label_causes(labels: Iterable[Label], options: FreezeOptions, as_of: datetime) -> dict[int, Cause | None]:
    """For each label of one task why it was not taken at that moment; None for those that were.

    What came after `as_of` supersedes nothing. A correction of a surplus label is surplus itself.
    """
    known = {label.pk: label for label in labels}
    there = {pk: label for pk, label in known.items() if label.created_at <= as_of}
    superseded = {label.supersedes for label in there.values()}
    standing = [label for pk, label in there.items() if pk not in superseded]
    newest: dict[int, Label] = {}
    for label in sorted(standing, key=lambda label: (label.created_at, label.pk)):
        newest[label.annotator] = label
    causes: dict[int, Cause | None] = {pk: Cause.LATER if pk not in there else Cause.SUPERSEDED for pk in known}
    for label in standing:
        is_newest = newest[label.annotator].pk == label.pk
        causes[label.pk] = _cause(label, there, options, as_of) if is_newest else Cause.REPEATED
    return causes


def annotator_cause(annotator: int, kind: str, group: str, options: FreezeOptions) -> Cause | None:
    """Why nothing of this annotator is taken; None when it may be."""
    if kind not in options.kinds:
        return Cause.KIND
    if group not in options.groups:
        return Cause.GROUP
    return Cause.WEIGHT if options.weights.get(annotator, 1) == 0 else None


def quarantined(since: datetime | None, as_of: datetime) -> bool:
    """Whether a prompt was in quarantine at that moment, as far as is known now."""
    return since is not None and since <= as_of


def settled(created_at: datetime, options: FreezeOptions, as_of: datetime) -> bool:
    """Whether something of that age has stood long enough."""
    return created_at <= as_of - timedelta(hours=options.wait_hours)


def _cause(label: Label, there: Mapping[int, Label], options: FreezeOptions, as_of: datetime) -> Cause | None:
    if _is_surplus(label, there) and not options.include_surplus:
        return Cause.SURPLUS
    cause = annotator_cause(label.annotator, label.kind, label.group, options)
    if cause is None and not settled(label.created_at, options, as_of):
        return Cause.FRESH
    return cause


def _is_surplus(label: Label, there: Mapping[int, Label]) -> bool:
    root: Label | None = label
    while root is not None:
        if root.surplus:
            return True
        root = there.get(root.supersedes) if root.supersedes else None
    return False
