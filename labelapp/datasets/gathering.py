"""Reads what a snapshot holds, some tasks at a time, and sets it aside in files until all ids are known."""

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import IO, Any

from django.db.models import Count, Exists, OuterRef, Q

from labelapp.datasets.combination import Combined, Vote, ties_dropped, votes_combine
from labelapp.datasets.demonstrations import demonstration_cause, demonstrations_of
from labelapp.datasets.freeze_options import ALL, DROP, MAJORITY, SOFT, FreezeOptions
from labelapp.datasets.selection import LEARNED_FROM, Cause, Label, Task, label_causes
from labelapp.labeling.ordering import Edge
from labelapp.models import Annotation, ComparisonTask, Rating, TaskCompletion
from trainer.records import canonical

TASKS_AT_ONCE = 1000
LABEL_FIELDS = (
    *("pk", "task_id", "annotator_id", "annotator__kind", "annotator__group"),
    *("created_at", "supersedes_id", "surplus", "edges", "edit_id", "edit_of"),
    *("rationale", "order_shown"),
)
TASK_FIELDS = (
    *("pk", "prompt_id", "prompt__split", "batch_id", "purpose", "prompt__quarantined_at"),
    *("batch__protocol_id", "batch__protocol__likert_points"),
)
EDGE_KEYS = ("i", "j", "outcome", "strength", "weight")
TABLES = ("comparisons", "ratings", "demonstrations")
"""What is set aside. Prompts and completions are read when it is known which."""
Beat = Callable[[int], None]
"""Called now and then with the number of tasks that are done."""


@dataclass
class Gathered:
    """What was set aside, and everything that must be known before the files of a snapshot are written.

    In the rows annotators stand by their ids, 0 for several together.
    """

    folder: Path
    prompts: dict[int, str] = field(default_factory=dict)
    completions: set[int] = field(default_factory=set)
    annotators: dict[int, dict[str, str]] = field(default_factory=dict)
    protocols: set[int] = field(default_factory=set)
    rows: Counter[tuple[str, str]] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    labels: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    demonstrations_left_out: Counter[str] = field(default_factory=Counter)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to learn from."""
        return not any(self.rows[table, split] for table, split in self.rows if table in TABLES)

    def counts(self) -> dict[str, Any]:
        """As the manifest and the pages show them."""
        splits: dict[str, dict[str, int]] = {}
        for (table, split), number in sorted(self.rows.items()):
            splits.setdefault(table, {})[split] = number
        return {
            "labels": self.labels,
            "edges": {"strict": self.outcomes[">"], "ties": self.outcomes["="]},
            "splits": splits,
            "left_out": dict(sorted((+self.left_out).items())),
            "demonstrations_left_out": dict(sorted(self.demonstrations_left_out.items())),
        }

    def read(self, table: str) -> Iterator[dict[str, Any]]:
        """The rows that were set aside for a table, in their order."""
        with (self.folder / table).open(encoding="utf-8") as lines:
            yield from map(json.loads, lines)

    def take_prompt(self, pk: int, split: str) -> None:
        """Have a prompt in the snapshot."""
        if pk not in self.prompts:
            self.prompts[pk] = split
            self.rows["prompts", split] += 1

    def take_completions(self, ids: Sequence[int], split: str) -> None:
        """Have completions in the snapshot; their prompt has that split."""
        new = set(ids) - self.completions
        self.completions |= new
        self.rows["completions", split] += len(new)

    def take_annotator(self, pk: int, kind: str, group: str) -> None:
        """Have somebody described by the snapshot."""
        self.annotators.setdefault(pk, {"kind": kind, "group": group})


def labels_gather(*, project_id: int, options: FreezeOptions, as_of: datetime, folder: Path, beat: Beat) -> Gathered:
    """Set aside comparisons, ratings and demonstrations. `options` name batches where they named rounds."""
    gathered = Gathered(folder)
    gathered.left_out.update(_out_of_reach(project_id, options, as_of))
    with ExitStack() as stack:
        files = {table: stack.enter_context((folder / table).open("wb")) for table in TABLES}
        done = 0
        for tasks in _tasks(project_id, options, as_of):
            chunk = _Chunk(gathered, tasks, options, as_of)
            for task in tasks:
                _write(files["comparisons"], chunk.comparisons(task))
                _write(files["ratings"], chunk.ratings(task))
            done += len(tasks)
            beat(done)
        if options.demonstrations:
            _write(files["demonstrations"], _demonstrations(gathered, project_id, options, as_of, lambda: beat(done)))
    return gathered


def comparison_id(task: int, label: int | None = None) -> str:
    """Identifies a comparison by its task, and by its label where it is made of one; sorted as text they are sorted
    by number.
    """
    return f"{task:012d}" if label is None else f"{task:012d}-{label:012d}"


def labels_of(task_ids: Sequence[int], as_of: datetime | None = None) -> dict[int, list[Label]]:
    """All labels of some tasks, by task, rising by id; only those up to a moment where one is given."""
    found = Annotation.objects.filter(task__in=task_ids).order_by("pk")
    if as_of:
        found = found.filter(created_at__lte=as_of)
    labels = defaultdict(list)
    for row in found.values_list(*LABEL_FIELDS):
        labels[row[1]].append(Label(*row))
    if any(label.edit for said in labels.values() for label in said):
        _edits_clear(labels)
    return labels


def _edits_clear(labels: dict[int, list[Label]]) -> None:
    """Forget edits whose very text stands in the task already: as a completion it was judged by itself."""
    edits = {label.edit for said in labels.values() for label in said if label.edit}
    slots = TaskCompletion.objects.filter(task__in=labels, completion__in=edits)
    known = set(slots.values_list("task_id", "completion_id"))
    for task, said in labels.items():
        labels[task] = [
            replace(label, edit=None, edit_of=None) if (task, label.edit) in known else label for label in said
        ]


class _Chunk:
    """Some tasks with everything said about them. The number of queries does not depend on how many."""

    def __init__(self, gathered: Gathered, tasks: Sequence[Task], options: FreezeOptions, as_of: datetime) -> None:
        self.gathered, self.options = gathered, options
        ids = [task.pk for task in tasks]
        self.slots: dict[int, dict[int, int]] = defaultdict(dict)
        for task, slot, completion in (
            TaskCompletion.objects.filter(task__in=ids)
            .order_by("task", "slot", "completion")
            .values_list("task_id", "slot", "completion_id")
        ):
            self.slots[task].setdefault(slot, completion)
        labels = labels_of(ids, as_of)
        self.kept = {task: self._kept(labels[task], as_of) for task in ids}
        self.said = self._ratings([label.pk for kept in self.kept.values() for label in kept])

    def comparisons(self, task: Task) -> Iterator[dict[str, Any]]:
        """The rows of a task; what they point at is taken along."""
        completions, place = self._completions(task)
        voters = [label for label in self.kept[task.pk] if self._votes(label, len(completions))]
        if not voters:
            return
        combine, ties = self.options.combine, self.options.ties
        # Where each label makes a row, the row has no edits but its own.
        edits = [] if combine == ALL else sorted({label.edit for label in voters if label.edit})
        places = place, {edit: len(completions) + number for number, edit in enumerate(edits)}
        votes = [self._vote(label, *places, own=len(completions)) for label in voters]
        by_id = {label.pk: label for label in voters}
        rows = votes_combine(votes, len(completions) + len(edits), combine=combine, ties=ties)
        if not rows:
            self.gathered.left_out[Cause.TIES_ONLY.value] += len(votes)
        for row in rows:
            labels = [by_id[pk] for pk in row.labels]
            added = edits if combine != ALL else [label.edit for label in labels if label.edit]
            yield self._row(task, [*completions, *added], row, labels)

    def _vote(self, label: Label, place: dict[int, int], edits: dict[int, int], *, own: int) -> Vote:
        """A label's edges by places. Its edit stands at the place `edits` gives it, else at `own`, after the others."""
        edges: list[Edge] = [
            (place[i], place[j], outcome, strength, weight) for i, j, outcome, strength, weight in label.edges
        ]
        edit = edits.get(label.edit or 0, own)
        edges += [(edit, place[slot], ">", None, 1.0) for slot in label.beaten_by_edit()]
        counts = self.options.weights.get(label.annotator, 1.0)
        return Vote(label.pk, edges, counts, extra=int(bool(label.edit) and not edits))

    def ratings(self, task: Task) -> Iterator[dict[str, Any]]:
        """What the kept labels of a task say about completions on their own."""
        completions, place = self._completions(task)
        for label in self.kept[task.pk]:
            rows = sorted((completions[place[slot]], likert, answers) for slot, likert, answers in self.said[label.pk])
            for completion, likert, answers in rows:
                self._take(task, [label], completions)
                self.gathered.rows["ratings", task.split] += 1
                yield {
                    "comparison": comparison_id(task.pk, label.pk),
                    "prompt": task.prompt,
                    "completion": completion,
                    "annotator": label.annotator,
                    "likert": likert,
                    "likert_points": task.likert_points,
                    "answers": answers,
                    "protocol": task.protocol,
                }

    def _row(self, task: Task, completions: list[int], row: Combined, labels: Sequence[Label]) -> dict[str, Any]:
        self._take(task, labels, completions)
        self.gathered.rows["comparisons", task.split] += 1
        self.gathered.outcomes.update(pair_outcomes(row.edges, self.options.combine))
        self.gathered.labels += len(labels)
        groups = {label.group for label in labels}
        alone = labels[0] if len(labels) == 1 else None
        slots = self.slots[task.pk]
        return {
            "comparison": comparison_id(task.pk, labels[0].pk if self.options.combine == ALL else None),
            "task": task.pk,
            "prompt": task.prompt,
            "annotator": alone.annotator if alone else 0,
            "group": groups.pop() if len(groups) == 1 else "",
            "protocol": task.protocol,
            "completions": completions,
            "edges": [dict(zip(EDGE_KEYS, edge, strict=True)) for edge in row.edges],
            "ranking": row.ranking,
            "weight": row.weight,
            # Letters in the reasons are those that this annotator saw.
            "rationale": alone.rationale if alone else "",
            "shown": [slots[slot] for slot in alone.order_shown] if alone else [],
        }

    def _completions(self, task: Task) -> tuple[list[int], dict[int, int]]:
        """One completion for each slot, the one with the lowest id, and each slot's place among them."""
        slots = self.slots[task.pk]
        return list(slots.values()), {slot: place for place, slot in enumerate(slots)}

    def _take(self, task: Task, labels: Sequence[Label], completions: Sequence[int]) -> None:
        self.gathered.take_prompt(task.prompt, task.split)
        self.gathered.take_completions(completions, task.split)
        self.gathered.protocols.add(task.protocol)
        for label in labels:
            self.gathered.take_annotator(label.annotator, label.kind, label.group)

    def _kept(self, labels: Sequence[Label], as_of: datetime) -> list[Label]:
        causes = label_causes(labels, self.options, as_of)
        self.gathered.left_out.update(cause.value for cause in causes.values() if cause)
        return [label for label in labels if causes[label.pk] is None]

    def _votes(self, label: Label, k: int) -> bool:
        cause = comparison_cause(label, k, self.options)
        if cause:
            self.gathered.left_out[cause.value] += 1
        return cause is None

    def _ratings(self, labels: Sequence[int]) -> dict[int, list[tuple[int, int | None, str]]]:
        """By label: slot, points and answers of each rating that says something."""
        said: dict[int, list[tuple[int, int | None, str]]] = defaultdict(list)
        if not self.options.ratings:
            return said
        found = Rating.objects.filter(annotation__in=labels).exclude(likert__isnull=True, answers={})
        for label, slot, likert, answers in found.values_list("annotation_id", "slot", "likert", "answers"):
            said[label].append((slot, likert, canonical(answers).decode()))
        return said


def comparison_cause(label: Label, k: int, options: FreezeOptions) -> Cause | None:
    """Why a label that is taken makes no comparison; None when it does. `k` is the number of completions."""
    if label.edit:
        return None  # it is preferred to what it improves, whatever else was said
    if k < 2:
        return Cause.ONE_COMPLETION
    if not label.edges:
        return Cause.NO_EDGES
    # In a majority a label of ties has its vote; whether the ties are dropped is asked of what the majority says.
    drops = options.ties == DROP and options.combine != MAJORITY
    return Cause.TIES_ONLY if drops and not ties_dropped(label.edges) else None


def pair_outcomes(edges: Sequence[Edge], combine: str) -> list[str]:
    """The outcome of each pair of a row; where a pair goes both ways, a tie is one that weighs the same both ways."""
    if combine != SOFT:
        return [edge[2] for edge in edges]
    ways: dict[tuple[int, int], list[float]] = defaultdict(list)
    for i, j, _, _, weight in edges:
        ways[min(i, j), max(i, j)].append(weight)
    return ["=" if len(weights) == 2 and weights[0] == weights[1] else ">" for weights in ways.values()]


def _tasks(project_id: int, options: FreezeOptions, as_of: datetime) -> Iterator[list[Task]]:
    """The labelled tasks within reach, in the order of their ids."""
    labelled = Annotation.objects.filter(task=OuterRef("pk"), created_at__lte=as_of)
    tasks = (
        ComparisonTask.objects.filter(
            Exists(labelled), batch__project=project_id, prompt__split__in=options.splits, purpose__in=LEARNED_FROM
        )
        .exclude(prompt__quarantined_at__lte=as_of)
        .order_by("pk")
    )
    if options.batches:
        tasks = tasks.filter(batch__in=options.batches)
    last = 0
    while found := [Task(*row) for row in tasks.filter(pk__gt=last).values_list(*TASK_FIELDS)[:TASKS_AT_ONCE]]:
        yield found
        last = found[-1].pk


def _out_of_reach(project_id: int, options: FreezeOptions, as_of: datetime) -> Counter[str]:
    """How many of the project's labels are on tasks that are not asked for, by cause."""
    reached = Q(task__batch__in=options.batches) if options.batches else Q(pk__gt=0)
    wanted = Q(task__prompt__split__in=options.splits)
    learned = Q(task__purpose__in=LEARNED_FROM)
    kept_away = Q(task__prompt__quarantined_at__isnull=False, task__prompt__quarantined_at__lte=as_of)
    counts = Annotation.objects.filter(task__batch__project=project_id, created_at__lte=as_of).aggregate(
        batch=Count("pk", filter=~reached),
        split=Count("pk", filter=reached & ~wanted),
        purpose=Count("pk", filter=reached & wanted & ~learned),
        quarantined=Count("pk", filter=reached & wanted & learned & kept_away),
    )
    return Counter({Cause(name).value: number for name, number in counts.items()})


def _demonstrations(
    gathered: Gathered, project_id: int, options: FreezeOptions, as_of: datetime, beat: Callable[[], None]
) -> Iterator[dict[str, Any]]:
    for chunk in demonstrations_of(project_id, as_of, options):
        for said in chunk:
            if cause := demonstration_cause(said, options, as_of):
                gathered.demonstrations_left_out[cause.value] += 1
                continue
            gathered.take_prompt(said.prompt, said.split)
            gathered.take_annotator(said.annotator, said.kind, said.group)
            gathered.rows["demonstrations", said.split] += 1
            yield {
                "demonstration": said.pk,
                "prompt": said.prompt,
                "annotator": said.annotator,
                "group": said.group,
                "text": said.text,
            }
        beat()


def _write(file: IO[bytes], rows: Iterator[Any]) -> None:
    file.writelines(canonical(row) + b"\n" for row in rows)
