"""Why a row is in one snapshot and not, or not so, in another. Labels are append-only, so it can be told afterwards."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from labelapp.datasets.demonstrations import FIELDS, Said, demonstration_cause, demonstrations_seen
from labelapp.datasets.freeze_options import FreezeOptions, freeze_options_read
from labelapp.datasets.gathering import TASK_FIELDS, comparison_cause, labels_of
from labelapp.datasets.selection import Cause, Label, Task, label_causes, task_cause
from labelapp.models import AnnotatorKey, ComparisonTask, Demonstration, Snapshot, TaskCompletion

OPTION_OF = {
    Cause.FRESH: "settled_hours",
    Cause.SURPLUS: "include_surplus",
    Cause.KIND: "kinds",
    Cause.GROUP: "groups",
    Cause.WEIGHT: "weights",
    Cause.BATCH: "batches",
    Cause.SPLIT: "splits",
    Cause.TIES_ONLY: "ties",
    Cause.UNWANTED: "demonstrations",
}
"""The option that left a label out."""
NEW, CORRECTION, CORRECTED = "new label", "a correction of an earlier label", "superseded by a correction"
NEWER = "a newer label by the same annotator"
SETTLED = "settled meanwhile"
MOVED = "the annotator was moved to another group or kind, or the prompt let out of quarantine"
QUARANTINE = "the prompt went into quarantine"
COMPANY = " on the same task"
FOLLOWED = "came or went with its labels"
DESCRIBED = "its description was changed"
UNKNOWN = "what it was made of is no longer in the database"


@dataclass(frozen=True)
class Side:
    """A snapshot as it was asked for: its options, and its moment."""

    options: FreezeOptions
    as_of: datetime
    raw: Mapping[str, Any]


@dataclass(frozen=True)
class Difference:
    """A row that is `added`, `removed` or `changed`: as the first and as the second snapshot have it."""

    kind: str
    first: Mapping[str, Any] | None
    second: Mapping[str, Any] | None

    @property
    def row(self) -> Mapping[str, Any]:
        """One of the two."""
        return self.second or self.first or {}


@dataclass
class _World:
    """What the database knows about some tasks."""

    tasks: dict[int, Task]
    labels: dict[int, list[Label]]
    k: Counter[int]
    verdicts: dict[tuple[int, int, bool], dict[int, Cause | None]] = field(default_factory=dict)


def side_of(snapshot: Snapshot) -> Side:
    """The options of a snapshot as they were when it was frozen. Forgotten annotators are left out of the weights."""
    given = dict(snapshot.options)
    keys = AnnotatorKey.objects.filter(key__in=given.get("weights", {}))
    known = dict(keys.values_list("key", "annotator_id"))
    weights = {known[key]: weight for key, weight in given.get("weights", {}).items() if key in known}
    return Side(freeze_options_read({**given, "weights": weights}), snapshot.as_of, snapshot.options)


def causes_of(table: str, found: Sequence[Difference], first: Side, second: Side) -> list[str]:
    """Why each of these rows of a table differs, with a number of queries that does not depend on how many."""
    if table in ("prompts", "completions"):
        return [DESCRIBED if one.kind == "changed" else FOLLOWED for one in found]
    teller = _Teller(first, second)
    if table == "demonstrations":
        return teller.demonstrations(found)
    return teller.labels(found, compared=table == "comparisons")


class _Teller:
    def __init__(self, first: Side, second: Side) -> None:
        self.sides = (first, second)

    def labels(self, found: Sequence[Difference], *, compared: bool) -> list[str]:
        ids = [_ids(one.row["comparison"]) for one in found]
        world = _world({task for task, _ in ids})
        return [self._label(one, task, label, world, compared) for one, (task, label) in zip(found, ids, strict=True)]

    def _label(self, one: Difference, task: int, label: int | None, world: _World, compared: bool) -> str:
        if task not in world.tasks:
            return UNKNOWN
        if not compared and (other := self._option("ratings")):
            return other
        verdicts = [self._verdicts(world, task, side, compared) for side in (0, 1)]
        known = {said.pk: said for said in world.labels[task]}
        if label is not None and one.kind != "changed":
            without = 0 if one.kind == "added" else 1
            return self._why(known.get(label), verdicts[without].get(label), without)
        # A row made of the whole task, or one whose share of the task is another.
        suffix = COMPANY if label is not None else ""
        for without in (0, 1):
            for pk, cause in verdicts[without].items():
                if pk != label and cause is not None and verdicts[1 - without][pk] is None:
                    return self._why(known[pk], cause, without) + suffix
        return self._option("combine", "ties", "weights") or MOVED

    def _why(self, label: Label | None, cause: Cause | None, without: int) -> str:
        """Why a label is not in the snapshot on that side."""
        if label is None:
            return UNKNOWN
        if cause == Cause.LATER:
            return CORRECTION if label.supersedes else NEW
        if cause == Cause.SUPERSEDED:
            return CORRECTED
        if cause == Cause.REPEATED:
            return NEWER
        return self._chosen(cause)

    def _chosen(self, cause: Cause | None) -> str:
        """What an option explains, or what changed where the options are the same."""
        if cause is None:
            return self._option("combine", "ties", "weights", "kinds", "groups") or MOVED
        name = OPTION_OF.get(cause, "")
        if other := self._option(*filter(None, [name, "minimum_state" if cause == Cause.FRESH else ""])):
            return other
        return {Cause.FRESH: SETTLED, Cause.QUARANTINED: QUARANTINE}.get(cause, MOVED)

    def _option(self, *names: str) -> str:
        """The first of these options that the two snapshots do not share."""
        for name in names:
            if self.sides[0].raw.get(name) != self.sides[1].raw.get(name):
                return f"other options: {name}"
        return ""

    def _verdicts(self, world: _World, pk: int, side: int, compared: bool) -> dict[int, Cause | None]:
        if (pk, side, compared) not in world.verdicts:
            options, as_of = self.sides[side].options, self.sides[side].as_of
            task, labels = world.tasks[pk], world.labels[pk]
            causes = label_causes(labels, options, as_of)
            for label in labels:
                if causes[label.pk] != Cause.LATER and (of_task := task_cause(task, options, as_of)):
                    causes[label.pk] = of_task
                if causes[label.pk] is None and compared:
                    causes[label.pk] = comparison_cause(label, world.k[pk], options)
            world.verdicts[pk, side, compared] = causes
        return world.verdicts[pk, side, compared]

    def demonstrations(self, found: Sequence[Difference]) -> list[str]:
        ids = [one.row["demonstration"] for one in found]
        seen = [
            {
                row[0]: Said(*row)
                for row in demonstrations_seen(side.as_of, side.options).filter(pk__in=ids).values_list(*FIELDS)
            }
            for side in self.sides
        ]
        corrections = set(
            Demonstration.objects.filter(pk__in=ids, supersedes__isnull=False).values_list("pk", flat=True)
        )
        return [self._demonstration(one, seen, corrections) for one in found]

    def _demonstration(self, one: Difference, seen: Sequence[Mapping[int, Said]], corrections: set[int]) -> str:
        pk, without = one.row["demonstration"], 1 if one.kind == "removed" else 0
        said, side = seen[without].get(pk), self.sides[without]
        if said is None:
            return UNKNOWN
        cause = None if one.kind == "changed" else demonstration_cause(said, side.options, side.as_of)
        named = {Cause.SUPERSEDED: CORRECTED, Cause.REPEATED: "a newer one by the same annotator"}
        if cause == Cause.LATER:
            return "a correction of an earlier one" if pk in corrections else "new demonstration"
        return named[cause] if cause in named else self._chosen(cause)


def _ids(comparison: str) -> tuple[int, int | None]:
    """The task of a comparison, and the label where it is made of one."""
    task, _, label = comparison.partition("-")
    return int(task), int(label) if label else None


def _world(ids: set[int]) -> _World:
    tasks = ComparisonTask.objects.filter(pk__in=ids).values_list(*TASK_FIELDS)
    slots = TaskCompletion.objects.filter(task__in=ids).values_list("task_id", "slot").distinct()
    return _World({row[0]: Task(*row) for row in tasks}, labels_of(sorted(ids)), Counter(task for task, _ in slots))
