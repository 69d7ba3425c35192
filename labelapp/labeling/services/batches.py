"""Batches: made by a job from chosen prompts, then opened, paused and closed."""

import hashlib
import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Exists, F, Max, OuterRef, QuerySet, TextField, Value
from django.db.models.functions import MD5, Cast, Concat
from django.utils import timezone

from labelapp.accounts.audit import audit_record
from labelapp.errors import ConflictError, DomainError
from labelapp.jobs.services import job_create
from labelapp.labeling.selectors import BUILD, build_broken, build_last
from labelapp.labeling.services.pools import pool_for, pool_key
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
    work: str = Batch.Work.COMPARISON.value
    k: int = 4
    overlap: int = 1
    shared_share: float = 0.15
    shared_overlap: int = 3
    priority: int = 0
    deadline: date | None = None
    quota: int | None = None
    languages: list[str] = field(default_factory=list)
    skills: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class PromptChoice:
    """Which prompts, and whose completions, a batch is made of. What is empty does not restrict.

    Where answers are written, whose completions there are is no matter.
    """

    split: str = ""
    source: str = ""
    tags: list[str] = field(default_factory=list)
    model_versions: list[int] = field(default_factory=list)
    sampled_by: int | None = None
    limit: int | None = None
    newest_prompt: int | None = None
    newest_completion: int | None = None


def plan_problem(*, protocol: Protocol, k: int, work: str) -> str:
    """Why labels of `k` completions per task under this protocol would say nothing; empty when they say something."""
    if work == Batch.Work.DEMONSTRATION or k > 1 or protocol.likert_points:
        return ""
    return (
        f"With one completion per task there is nothing to rank, and “{protocol}” asks for no rating. "
        "Choose at least 2 completions per task, or a protocol with a rating."
    )


@transaction.atomic
def batch_create(
    *, project: Project, protocol: Protocol, plan: BatchPlan, choice: PromptChoice, open_when_made: bool, actor: User
) -> tuple[Batch, Job]:
    """Create a draft batch and the job that makes its tasks; return both.

    Raises DomainError when the protocol belongs to another project or asks nothing about so few completions,
    ConflictError when the name is taken.
    """
    if protocol.project_id != project.pk:
        raise DomainError("This protocol belongs to another project. Choose one of this project.")
    if problem := plan_problem(protocol=protocol, k=plan.k, work=plan.work):
        raise DomainError(problem)
    try:
        with transaction.atomic():
            batch = Batch.objects.create(project=project, protocol=protocol, created_by=actor, **asdict(plan))
    except IntegrityError as error:
        if "batch_name_once" in str(error):
            raise ConflictError(f"There is already a batch called “{plan.name}”. Choose another name.") from error
        raise
    Protocol.objects.filter(pk=protocol.pk, used_at__isnull=True).update(used_at=timezone.now())
    payload = {"batch": batch.pk, "choice": asdict(choice), "open": open_when_made}
    return batch, _build_job(batch, payload, actor, verb="batch_create")


@transaction.atomic
def batch_build_continue(*, batch: Batch, actor: User) -> Job:
    """Make the tasks that a failed or stopped job left to make, out of the same draw; return the new job.

    Raises ConflictError when the batch is closed, or no job of it ended badly.
    """
    locked = Batch.objects.select_for_update(no_key=True).select_related("project").get(pk=batch.pk)
    last = build_broken(locked, build_last(locked))
    if last is None:
        raise ConflictError(
            f"Nothing of “{locked.name}” is left to make: it is closed, or its tasks are made or being made."
        )
    payload = {**last.payload, "draw": last.cursor or last.payload.get("draw", {})}
    return _build_job(locked, payload, actor, verb="batch_build_continue")


def _build_job(batch: Batch, payload: Mapping[str, object], actor: User, *, verb: str) -> Job:
    job = job_create(
        project=batch.project,
        kind=BUILD,
        title=f"Making the tasks of {batch.name}",
        payload=payload,
        created_by=actor,
    )
    audit_record(actor=actor, verb=verb, subject=batch, project_id=batch.project_id, job_id=job.pk)
    return job


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
    """Prompts that the choice admits and, where completions are compared, that have one by the chosen models."""
    prompts = Prompt.objects.filter(project=batch.project_id, quarantined_at__isnull=True)
    if choice.newest_prompt is not None:
        prompts = prompts.filter(pk__lte=choice.newest_prompt)
    if choice.split:
        prompts = prompts.filter(split=choice.split)
    if choice.source:
        prompts = prompts.filter(source=choice.source)
    if choice.tags:
        prompts = prompts.filter(tags__contains=choice.tags)
    if batch.languages:
        prompts = prompts.filter(language__in=batch.languages)
    if batch.work == Batch.Work.DEMONSTRATION:
        return prompts
    return prompts.filter(Exists(_completions(choice).filter(prompt=OuterRef("pk"))))


def choice_fixed(batch: Batch, choice: PromptChoice) -> PromptChoice:
    """The choice without whatever is imported from now on. Must run in a transaction; waits for imports at work."""
    Project.objects.select_for_update(no_key=True).get(pk=batch.project_id)
    prompt = Prompt.objects.aggregate(newest=Max("pk", default=0))["newest"]
    completion = Completion.objects.aggregate(newest=Max("pk", default=0))["newest"]
    return replace(choice, newest_prompt=prompt, newest_completion=completion)


def prompts_in_random_order(batch: Batch, choice: PromptChoice, salt: str, *, after: int | None = None) -> list[int]:
    """Ids of the eligible prompts in an order that is random, yet the same in every attempt of the job.

    `after` leaves out this prompt and those before it, whether or not it is still eligible.
    """
    place = MD5(Concat(Value(f"{salt}:{batch.pk}:"), Cast(F("pk"), TextField()), output_field=TextField()))
    prompts = prompts_eligible(batch, choice).alias(place=place)
    if after is not None:
        place_reached = hashlib.md5(f"{salt}:{batch.pk}:{after}".encode(), usedforsecurity=False)
        prompts = prompts.filter(place__gt=place_reached.hexdigest())
    return list(prompts.order_by("place").values_list("pk", flat=True))


@transaction.atomic
def tasks_create(
    *, batch: Batch, prompt_ids: Sequence[int], choice: PromptChoice, probability: float, salt: str
) -> int:
    """Make the tasks of these prompts with their slots and seats; return how many.

    Prompts with too few different completions make none, unless answers are to be written. A prompt that already has
    its task gets no second.
    """
    # An import that learns of sensitive content meanwhile would move seats that are not there to be seen yet.
    Project.objects.select_for_update(no_key=True).get(pk=batch.project_id)
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
    if choice.sampled_by is not None:
        completions = completions.filter(sampled_by=choice.sampled_by)
    if choice.newest_completion is not None:
        completions = completions.filter(pk__lte=choice.newest_completion)
    return completions


class _TaskWriter:
    """Draws the tasks of one chunk of prompts."""

    def __init__(self, *, batch: Batch, choice: PromptChoice, probability: float, salt: str) -> None:
        self.batch, self.choice, self.probability, self.salt = batch, choice, probability, salt
        self.pools: dict[tuple[Any, ...], Pool] = {}

    def draw(self, prompt_ids: Sequence[int]) -> list[tuple[ComparisonTask, list[list[Completion]]]]:
        """Unsaved tasks with their slots, in the order of `prompt_ids`."""
        done = set(self.batch.tasks.filter(prompt__in=prompt_ids).values_list("prompt_id", flat=True))
        allowed = Prompt.objects.filter(quarantined_at__isnull=True)
        prompts = allowed.in_bulk([pk for pk in prompt_ids if pk not in done])
        if self.batch.work == Batch.Work.DEMONSTRATION:
            return [self._task(prompts[pk], []) for pk in prompt_ids if pk in prompts]
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
        key = pool_key(prompt, self.batch.skills)
        if key not in self.pools:
            self.pools[key] = pool_for(batch_id=self.batch.pk, prompt=prompt, skills=self.batch.skills)
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
