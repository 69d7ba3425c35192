"""Batches: made by a job from chosen prompts, then opened, paused and closed."""

import hashlib
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, F, OuterRef, QuerySet, TextField, Value
from django.db.models.functions import MD5, Cast, Concat
from django.utils import timezone

from labelapp.accounts.audit import audit_record
from labelapp.errors import ConflictError, DomainError
from labelapp.jobs.services import job_create
from labelapp.models import (
    Batch,
    ComparisonTask,
    Completion,
    Job,
    Pool,
    Project,
    Prompt,
    Protocol,
    Seat,
    TaskCompletion,
    User,
)

ALLOWED = {
    Batch.State.DRAFT: {Batch.State.OPEN, Batch.State.CLOSED},
    Batch.State.OPEN: {Batch.State.PAUSED, Batch.State.CLOSED},
    Batch.State.PAUSED: {Batch.State.OPEN, Batch.State.CLOSED},
    Batch.State.CLOSED: set[Batch.State](),
}


@dataclass(frozen=True)
class BatchPlan:
    """What an administrator asks of a batch: how its tasks look, and how they are labelled."""

    name: str
    k: int = 4
    overlap: int = 1
    shared_share: float = 0.15
    shared_overlap: int = 3
    priority: int = 0
    deadline: date | None = None
    languages: list[str] = field(default_factory=list)
    skills: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PromptChoice:
    """Which prompts, and whose completions, a batch is made of. What is empty does not restrict."""

    split: str = ""
    source: str = ""
    tags: list[str] = field(default_factory=list)
    model_versions: list[int] = field(default_factory=list)
    limit: int | None = None


@transaction.atomic
def batch_create(
    *, project: Project, protocol: Protocol, plan: BatchPlan, choice: PromptChoice, open_when_made: bool, actor: User
) -> tuple[Batch, Job]:
    """Create a draft batch and the job that makes its tasks; return both.

    Raises DomainError when the protocol belongs to another project, ConflictError when the name is taken.
    """
    if protocol.project_id != project.pk:
        raise DomainError("This protocol belongs to another project. Choose one of this project.")
    try:
        with transaction.atomic():
            batch = Batch.objects.create(project=project, protocol=protocol, created_by=actor, **asdict(plan))
    except IntegrityError as error:
        if "batch_name_once" in str(error):
            raise ConflictError(f"There is already a batch called “{plan.name}”. Choose another name.") from error
        raise
    Protocol.objects.filter(pk=protocol.pk, used_at__isnull=True).update(used_at=timezone.now())
    job = job_create(
        project=project,
        kind="batch_build",
        title=f"Making the tasks of {batch.name}",
        payload={"batch": batch.pk, "choice": asdict(choice), "open": open_when_made},
        created_by=actor,
    )
    audit_record(actor=actor, verb="batch_create", subject=batch, project_id=project.pk, job_id=job.pk)
    return batch, job


@transaction.atomic
def batch_transition(*, batch: Batch, to: Batch.State, actor: User | None) -> Batch:
    """Open, pause or close a batch. Raises ConflictError when its state does not lead there."""
    locked = Batch.objects.select_for_update(no_key=True).get(pk=batch.pk)
    if to not in ALLOWED[Batch.State(locked.state)]:
        raise ConflictError(
            f"“{locked.name}” is {locked.get_state_display().lower()}; it cannot become {to.label.lower()}."
        )
    if to == Batch.State.OPEN and not locked.tasks.exists():
        raise ConflictError(f"“{locked.name}” has no tasks yet. Wait until they are made.")
    locked.state = to
    locked.save(update_fields=["state"])
    audit_record(actor=actor, verb="batch_transition", subject=locked, project_id=locked.project_id, to=to.value)
    return locked


def prompts_eligible(batch: Batch, choice: PromptChoice) -> QuerySet[Prompt]:
    """Prompts that the choice admits and that have at least one completion by the chosen models."""
    prompts = Prompt.objects.filter(project=batch.project_id)
    if choice.split:
        prompts = prompts.filter(split=choice.split)
    if choice.source:
        prompts = prompts.filter(source=choice.source)
    if choice.tags:
        prompts = prompts.filter(tags__contains=choice.tags)
    if batch.languages:
        prompts = prompts.filter(language__in=batch.languages)
    return prompts.filter(Exists(_completions(choice).filter(prompt=OuterRef("pk"))))


def prompts_in_random_order(batch: Batch, choice: PromptChoice, salt: str) -> list[int]:
    """Ids of the eligible prompts in an order that is random, yet the same in every attempt of the job."""
    key = MD5(Concat(Value(f"{salt}:{batch.pk}:"), Cast(F("pk"), TextField())))
    return list(prompts_eligible(batch, choice).order_by(key).values_list("pk", flat=True))


@transaction.atomic
def tasks_create(
    *, batch: Batch, prompt_ids: Sequence[int], choice: PromptChoice, probability: float, salt: str
) -> int:
    """Make the tasks of these prompts with their slots and seats; return how many.

    Prompts with too few different completions make none. A prompt that already has its task gets no second.
    """
    writer = _TaskWriter(batch=batch, choice=choice, probability=probability, salt=salt)
    drawn = writer.draw(prompt_ids)
    tasks = ComparisonTask.objects.bulk_create([task for task, _ in drawn])
    TaskCompletion.objects.bulk_create(
        TaskCompletion(task=task, completion=completion, slot=slot)
        for task, (_, slots) in zip(tasks, drawn, strict=True)
        for slot, completions in enumerate(slots)
        for completion in completions
    )
    Seat.objects.bulk_create(
        Seat(task=task, pool=writer.pool(task.prompt)) for task in tasks for _ in range(task.overlap)
    )
    return len(tasks)


def completions_key(completion_ids: Sequence[int]) -> str:
    """The identity of a set of completions."""
    return hashlib.sha256(",".join(map(str, sorted(completion_ids))).encode()).hexdigest()


def _completions(choice: PromptChoice) -> QuerySet[Completion]:
    completions = Completion.objects.all()
    if choice.model_versions:
        completions = completions.filter(model_version__in=choice.model_versions)
    return completions


class _TaskWriter:
    """Draws the tasks of one chunk of prompts."""

    def __init__(self, *, batch: Batch, choice: PromptChoice, probability: float, salt: str) -> None:
        self.batch, self.choice, self.probability, self.salt = batch, choice, probability, salt
        self.pools: dict[tuple[Any, ...], Pool] = {}

    def draw(self, prompt_ids: Sequence[int]) -> list[tuple[ComparisonTask, list[list[Completion]]]]:
        """Unsaved tasks with their slots, in the order of `prompt_ids`."""
        done = set(self.batch.tasks.filter(prompt__in=prompt_ids).values_list("prompt_id", flat=True))
        prompts = Prompt.objects.in_bulk([pk for pk in prompt_ids if pk not in done])
        texts: dict[int, dict[str, list[Completion]]] = defaultdict(lambda: defaultdict(list))
        for completion in _completions(self.choice).filter(prompt__in=prompts).order_by("pk"):
            texts[completion.prompt_id][completion.text_hash].append(completion)
        fewest = min(2, self.batch.k)
        return [
            self._task(prompts[pk], list(texts[pk].values()))
            for pk in prompt_ids
            if pk in prompts and len(texts[pk]) >= fewest
        ]

    def pool(self, prompt: Prompt) -> Pool:
        """The pool whose labelers may see this prompt."""
        key = (prompt.language, tuple(sorted(prompt.sensitivity)))
        if key not in self.pools:
            self.pools[key], _ = Pool.objects.get_or_create(
                batch=self.batch,
                purpose=ComparisonTask.Purpose.PRODUCTION,
                language=prompt.language,
                skills=sorted(self.batch.skills),
                sensitivity=sorted(prompt.sensitivity),
                boost=0,
            )
        return self.pools[key]

    def _task(self, prompt: Prompt, texts: list[list[Completion]]) -> tuple[ComparisonTask, list[list[Completion]]]:
        chance = random.Random(f"{self.salt}:{self.batch.pk}:{prompt.pk}")  # noqa: S311 (a draw, not a secret)
        slots = chance.sample(texts, min(self.batch.k, len(texts)))
        shared = chance.random() < self.batch.shared_share
        task = ComparisonTask(
            batch=self.batch,
            prompt=prompt,
            overlap=self.batch.shared_overlap if shared else self.batch.overlap,
            completions_key=completions_key([completion.pk for slot in slots for completion in slot]),
            selection_rule="random" if self.probability < 1 else "all",
            selection_probability=self.probability,
        )
        return task, slots
