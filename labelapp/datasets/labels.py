"""Labels and demonstrations that came with an import. They are append-only: what differs supersedes the newest."""

import hashlib
import json
import uuid
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from django.db import transaction
from django.utils import timezone

from labelapp.datasets.judgements import LABELLED_TEXTS, LIKERT_POINTS, Judgement
from labelapp.datasets.rows import DemonstrationRow
from labelapp.errors import ConflictError
from labelapp.labeling.ordering import Edge, ranking_from_edges
from labelapp.labeling.services.batches import completions_key
from labelapp.models import (
    Annotation,
    Annotator,
    Batch,
    ComparisonTask,
    Demonstration,
    Job,
    Project,
    Protocol,
    Rating,
    TaskCompletion,
)

IMPORTED = "Imported labels"
"""Name of the batch and the protocol that imported labels stand under, one of each per project."""
NAMESPACE = uuid.UUID("0b5f6e0c-58a1-4f0e-9a86-3b1a4b6c7d21")
"""Makes idempotency keys of imported labels; changing it would import everything again."""
SELECTION_RULE = "import"
Item = TypeVar("Item")


@dataclass(frozen=True, slots=True)
class LabelledRow:
    """What people said about one prompt; `completions` are the ids and texts of the row's completions, in its order."""

    prompt: int
    completions: Sequence[tuple[int, str]]
    judgements: Sequence[Judgement]
    demonstrations: Sequence[DemonstrationRow]

    def slots(self) -> list[int]:
        """The slot of each completion. They follow the ids, so any order of the same completions gives the same."""
        slot_of_text: dict[str, int] = {}
        for _, text in sorted(self.completions):
            slot_of_text.setdefault(text, len(slot_of_text))
        return [slot_of_text[text] for _, text in self.completions]


@dataclass(frozen=True, slots=True)
class _Content:
    """A judgement in the slots of its task, written in one canonical way."""

    edges: list[Edge]
    ranking: list[list[int]] | None
    ratings: list[tuple[int, int | None, dict[str, str | None]]]
    rationale: str
    confidence: int | None

    def key(self, task: int, annotator: int) -> uuid.UUID:
        """The same for the same content by the same annotator on the same task."""
        said = json.dumps([self.edges, self.ratings, self.rationale, self.confidence], sort_keys=True)
        return uuid.uuid5(NAMESPACE, f"{task}:{annotator}:{said}")


@dataclass(slots=True)
class _Chain:
    """The labels of one annotator on one thing, each superseding the one before."""

    newest: int | None = None
    contents: set[Hashable] = field(default_factory=set)


@transaction.atomic
def imported_batch(*, project: Project) -> Batch:
    """The closed batch of the project that its imported labels stand in, with its protocol; made on first use.

    Raises ConflictError when somebody has given its name to a batch of their own.
    """
    protocol, _ = Protocol.objects.get_or_create(
        project=project,
        name=IMPORTED,
        version=1,
        defaults={
            "guidelines": "These labels were made elsewhere and came with an import.",
            "strength_steps": 9,
            "likert_points": LIKERT_POINTS,
            "used_at": timezone.now(),
        },
    )
    batch, _ = Batch.objects.get_or_create(
        project=project,
        name=IMPORTED,
        defaults={
            "protocol": protocol,
            "state": Batch.State.CLOSED,
            "k": LABELLED_TEXTS,
            "shared_share": 0,
            "shared_overlap": 1,
        },
    )
    if batch.protocol_id != protocol.pk:
        raise ConflictError(f"Imported labels need a batch called “{IMPORTED}”, but somebody made one by hand here.")
    return batch


@transaction.atomic
def labels_import(*, project: Project, rows: Sequence[LabelledRow], job: Job | None) -> Counter[str]:
    """Bring labels and demonstrations in, those of a row and annotator as one; return how many of each are new.

    What an annotator has said before, word for word, changes nothing; what differs supersedes their newest.
    """
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    names = {judgement.annotator for row in rows for judgement in row.judgements}
    names |= {demonstration.annotator for row in rows for demonstration in row.demonstrations}
    annotators = _annotators(project, names)
    return Counter(
        annotations=_annotations(project, [row for row in rows if row.judgements], annotators, job),
        demonstrations=_demonstrations([row for row in rows if row.demonstrations], annotators, job),
    )


def _annotators(project: Project, names: Collection[str]) -> dict[str, int]:
    """Ids of the external annotators of these names, new ones made."""
    external = Annotator.objects.filter(project=project, kind=Annotator.Kind.EXTERNAL, name__in=names)
    known = dict(external.values_list("name", "pk"))
    missing = sorted(set(names) - known.keys())
    if missing:
        kind = Annotator.Kind.EXTERNAL
        Annotator.objects.bulk_create(
            [Annotator(project=project, kind=kind, name=name) for name in missing], ignore_conflicts=True
        )
        known = dict(external.all().values_list("name", "pk"))
    return known


def _annotations(project: Project, rows: Sequence[LabelledRow], annotators: dict[str, int], job: Job | None) -> int:
    if not rows:
        return 0
    batch = imported_batch(project=project)
    tasks = _tasks(batch, rows)
    chains = _annotation_chains(tasks)
    said = [
        (task, annotators[judgement.annotator], _content(judgement, row.slots()))
        for task, row in zip(tasks, rows, strict=True)
        for judgement in row.judgements
    ]
    new = 0
    for wave in _waves(said, lambda item: item[:2]):
        fresh: list[tuple[Annotation, _Content]] = []
        for task, annotator, content in wave:
            key = content.key(task, annotator)
            chain = chains.setdefault((task, annotator), _Chain())
            if key not in chain.contents:
                chain.contents.add(key)
                fresh.append((_annotation(batch, task, annotator, content, key, chain.newest, job), content))
        saved = Annotation.objects.bulk_create(annotation for annotation, _ in fresh)
        for annotation in saved:
            chains[annotation.task_id, annotation.annotator_id].newest = annotation.pk
        Rating.objects.bulk_create(
            Rating(annotation=annotation, slot=slot, likert=likert, answers=answers)
            for annotation, content in fresh
            for slot, likert, answers in content.ratings
        )
        new += len(saved)
    return new


def _annotation(
    batch: Batch, task: int, annotator: int, content: _Content, key: uuid.UUID, supersedes: int | None, job: Job | None
) -> Annotation:
    return Annotation(
        task_id=task,
        annotator_id=annotator,
        protocol_id=batch.protocol_id,
        supersedes_id=supersedes,
        edges=content.edges,
        ranking=content.ranking,
        order_shown=[],
        confidence=content.confidence,
        rationale=content.rationale,
        idempotency_key=key,
        imported_by=job,
    )


def _content(judgement: Judgement, slots: Sequence[int]) -> _Content:
    edges = sorted(_edge_in_slots(edge, slots) for edge in judgement.edges)
    ratings = sorted(
        ((slots[place], rating.likert, dict(rating.answers)) for place, rating in judgement.ratings.items()),
        key=lambda rating: rating[0],
    )
    ranking = ranking_from_edges(edges, max(slots) + 1) if edges else None
    return _Content(edges, ranking, ratings, judgement.rationale, judgement.confidence)


def _edge_in_slots(edge: Edge, slots: Sequence[int]) -> Edge:
    a, b, outcome, strength, weight = edge
    a, b = slots[a], slots[b]
    if outcome == "=" and b < a:
        a, b = b, a
    return a, b, outcome, strength, weight


def _tasks(batch: Batch, rows: Sequence[LabelledRow]) -> list[int]:
    """The task of each row: its prompt with exactly its completions."""
    wanted = [(row.prompt, completions_key([pk for pk, _ in row.completions])) for row in rows]
    prompts, keys = {prompt for prompt, _ in wanted}, {key for _, key in wanted}
    known = ComparisonTask.objects.filter(
        batch=batch, prompt__in=prompts, completions_key__in=keys, repeat_of__isnull=True
    )
    ids = {(prompt, key): pk for prompt, key, pk in known.values_list("prompt_id", "completions_key", "pk")}
    new = {want: row for want, row in zip(wanted, rows, strict=True) if want not in ids}
    tasks = ComparisonTask.objects.bulk_create(
        ComparisonTask(
            batch=batch,
            prompt_id=prompt,
            purpose=ComparisonTask.Purpose.PRODUCTION,
            overlap=0,
            completions_key=key,
            selection_rule=SELECTION_RULE,
            selection_probability=1,
        )
        for prompt, key in new
    )
    TaskCompletion.objects.bulk_create(
        TaskCompletion(task=task, completion_id=completion, slot=slot)
        for task, row in zip(tasks, new.values(), strict=True)
        for (completion, _), slot in zip(row.completions, row.slots(), strict=True)
    )
    ids |= {(task.prompt_id, task.completions_key): task.pk for task in tasks}
    return [ids[want] for want in wanted]


def _annotation_chains(tasks: Collection[int]) -> dict[tuple[int, int], _Chain]:
    """What was said about these tasks before, by task and annotator; one query per link of the longest chain."""
    chains: dict[tuple[int, int], _Chain] = {}
    links = Annotation.objects.filter(task__in=set(tasks), supersedes__isnull=True)
    while found := list(links.values_list("task_id", "annotator_id", "pk", "idempotency_key")):
        for task, annotator, pk, key in found:
            chain = chains.setdefault((task, annotator), _Chain())
            chain.newest = pk
            chain.contents.add(key)
        links = Annotation.objects.filter(supersedes__in=[pk for _, _, pk, _ in found])
    return chains


def _demonstrations(rows: Sequence[LabelledRow], annotators: dict[str, int], job: Job | None) -> int:
    if not rows:
        return 0
    chains = _demonstration_chains({row.prompt for row in rows})
    said = [
        (row.prompt, annotators[demonstration.annotator], demonstration.text)
        for row in rows
        for demonstration in row.demonstrations
    ]
    new = 0
    for wave in _waves(said, lambda item: item[:2]):
        fresh: list[Demonstration] = []
        for prompt, annotator, text in wave:
            text_hash = hashlib.sha256(text.encode()).hexdigest()
            chain = chains.setdefault((prompt, annotator), _Chain())
            if text_hash not in chain.contents:
                chain.contents.add(text_hash)
                fresh.append(
                    Demonstration(
                        prompt_id=prompt,
                        annotator_id=annotator,
                        text=text,
                        text_hash=text_hash,
                        supersedes_id=chain.newest,
                        imported_by=job,
                    )
                )
        for demonstration in Demonstration.objects.bulk_create(fresh):
            chains[demonstration.prompt_id, demonstration.annotator_id].newest = demonstration.pk
        new += len(fresh)
    return new


def _demonstration_chains(prompts: Collection[int]) -> dict[tuple[int, int], _Chain]:
    chains: dict[tuple[int, int], _Chain] = {}
    known = Demonstration.objects.filter(prompt__in=prompts).order_by("pk")
    for prompt, annotator, pk, text_hash in known.values_list("prompt_id", "annotator_id", "pk", "text_hash"):
        chain = chains.setdefault((prompt, annotator), _Chain())
        chain.newest = pk
        chain.contents.add(text_hash)
    return chains


def _waves(items: Sequence[Item], owner: Callable[[Item], Hashable]) -> Iterator[list[Item]]:
    """Split into lists in which each owner stands once, in order: a later label can then supersede an earlier one."""
    while items:
        wave: dict[Hashable, Item] = {}
        later: list[Item] = []
        for item in items:
            if owner(item) in wave:
                later.append(item)
            else:
                wave[owner(item)] = item
        yield list(wave.values())
        items = later
