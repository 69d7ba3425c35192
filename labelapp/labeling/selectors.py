"""Reads of the labeling room: the sheet of a task, unfinished work, and how far batches have come."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import Count, Exists, OuterRef, Q, QuerySet

from labelapp.labeling.judgement import Sheet
from labelapp.labeling.presentation import order_shown, questioned_slots
from labelapp.models import (
    Annotation,
    Annotator,
    Batch,
    ComparisonTask,
    Draft,
    Job,
    Pool,
    Question,
    Seat,
    TaskSkip,
    User,
)

BUILD = "batch_build"
"""The kind of job that makes a batch's tasks."""


@dataclass(frozen=True)
class TaskShown:
    """A task as one person sees it: no ids of completions, no names of models."""

    task: ComparisonTask
    sheet: Sheet
    texts: list[str]
    draft: Draft | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


def task_shown(*, task_id: int, annotator: Annotator, posted: Mapping[str, str] | None = None) -> TaskShown:
    """The task with its completions in this person's order, filled in as `posted`, else as their draft left it."""
    task = ComparisonTask.objects.select_related("prompt", "batch__protocol", "batch__project").get(pk=task_id)
    text_of_slot = {
        row.slot: row.completion.text
        for row in task.task_completions.select_related("completion").order_by("slot", "-pk")
    }
    k, protocol, salt = len(text_of_slot), task.batch.protocol, task.batch.project.salt
    order = order_shown(salt=salt, task_id=task.pk, annotator_id=annotator.pk, k=k)
    questioned = questioned_slots(protocol=protocol, salt=salt, task_id=task.pk, annotator_id=annotator.pk, k=k)
    draft = Draft.objects.filter(annotator=annotator, task=task).first()
    fields = posted if posted is not None else draft.content if draft else {}
    sheet = Sheet(
        protocol=protocol,
        questions=list(protocol.questions.all()),
        order=order,
        questioned=frozenset(questioned),
        stage=Sheet.stage_of(protocol, k, fields),
    )
    return TaskShown(
        task=task,
        sheet=sheet,
        texts=[text_of_slot[slot] for slot in order],
        draft=draft,
        fields=fields,
    )


def drafts_open(*, annotator: Annotator) -> QuerySet[Draft]:
    """Unsubmitted work of one annotator whose seat they no longer hold, newest first."""
    return _drafts_open(Draft.objects.filter(annotator=annotator))


def drafts_of(user: User | AnonymousUser) -> QuerySet[Draft]:
    """Unsubmitted work of a person whose seat they no longer hold, in the projects they are in, newest first."""
    member = Q(annotator__project__memberships__user=user.pk, annotator__project__memberships__ended_at__isnull=True)
    drafts = _drafts_open(Draft.objects.filter(member, annotator__user=user.pk))
    return drafts.select_related("task__prompt", "annotator__project")


def _drafts_open(drafts: QuerySet[Draft]) -> QuerySet[Draft]:
    held = Seat.objects.filter(annotator=OuterRef("annotator"), task=OuterRef("task"), state=Seat.State.HELD)
    submitted = Annotation.objects.filter(
        annotator=OuterRef("annotator"), task=OuterRef("task"), supersedes__isnull=True
    )
    return drafts.exclude(Exists(held)).exclude(Exists(submitted)).order_by("-saved_at")


def pools_fit_for(annotator: Annotator) -> QuerySet[Pool]:
    """Pools whose prompts the person may see, whatever the state of the batch; the next seat is chosen alike."""
    return Pool.objects.filter(
        Q(language="") | Q(language__in=annotator.languages),
        batch__project=annotator.project_id,
        skills__contained_by=annotator.skills,
        sensitivity__contained_by=annotator.accepts_sensitive,
    )


def held_elsewhere(*, annotator: Annotator) -> int:
    """How many seats other people hold now that could still come to this person."""
    return _seats_to_come(annotator).filter(state=Seat.State.HELD).exclude(annotator=annotator).count()


def task_waits(*, annotator: Annotator) -> bool:
    """Whether a person who asked for the next task would get one. Takes nothing and locks nothing."""
    held = Seat.objects.filter(annotator=annotator, state=Seat.State.HELD)
    return held.exists() or _seats_to_come(annotator).filter(state=Seat.State.OPEN).exists()


def _seats_to_come(annotator: Annotator) -> QuerySet[Seat]:
    labelled = Annotation.objects.filter(annotator=annotator, task=OuterRef("task"), supersedes__isnull=True)
    skipped = TaskSkip.objects.filter(annotator=annotator, task=OuterRef("task"))
    pools = pools_fit_for(annotator).filter(batch__state=Batch.State.OPEN)
    return Seat.objects.filter(pool__in=pools).exclude(Exists(labelled)).exclude(Exists(skipped))


@dataclass(frozen=True)
class Progress:
    """How far a batch has come, in seats (labels wanted)."""

    tasks: int = 0
    seats: int = 0
    held: int = 0
    filled: int = 0
    surplus: int = 0


def batch_progress(batches: QuerySet[Batch]) -> dict[int, Progress]:
    """Progress by batch id, in three queries whatever their number."""
    ids = list(batches.values_list("pk", flat=True))
    tasks = dict(
        ComparisonTask.objects.filter(batch__in=ids)
        .values_list("batch")
        .annotate(Count("pk"))
        .values_list("batch", "pk__count")
    )
    seats = {
        row["task__batch"]: row
        for row in Seat.objects.filter(task__batch__in=ids)
        .values("task__batch")
        .annotate(
            seats=Count("pk"),
            held=Count("pk", filter=Q(state=Seat.State.HELD)),
            filled=Count("pk", filter=Q(state=Seat.State.FILLED)),
        )
    }
    surplus = dict(
        Annotation.objects.filter(task__batch__in=ids, surplus=True, supersedes__isnull=True)
        .values_list("task__batch")
        .annotate(Count("pk"))
        .values_list("task__batch", "pk__count")
    )
    return {
        pk: Progress(
            tasks=tasks.get(pk, 0),
            seats=seats[pk]["seats"] if pk in seats else 0,
            held=seats[pk]["held"] if pk in seats else 0,
            filled=seats[pk]["filled"] if pk in seats else 0,
            surplus=surplus.get(pk, 0),
        )
        for pk in ids
    }


def build_last(batch: Batch) -> Job | None:
    """The newest job that makes, or made, the tasks of a batch; None for batches that came with an import."""
    return Job.objects.filter(project=batch.project_id, kind=BUILD, payload__batch=batch.pk).last()


def build_broken(batch: Batch, last: Job | None) -> Job | None:
    """The batch's last build, if it left tasks to be made that can still be made."""
    ended_badly = last is not None and last.state in {Job.State.FAILED, Job.State.CANCELLED}
    return last if ended_badly and batch.state != Batch.State.CLOSED else None


def labels_by_person(batch: Batch) -> QuerySet[Annotator, Any]:
    """Who labelled how much in a batch, most first. Corrections are no labels of their own."""
    return (
        Annotator.objects.filter(annotations__task__batch=batch, annotations__supersedes__isnull=True)
        .values("pk", "kind", "name", "user__name")
        .annotate(labels=Count("annotations"), surplus=Count("annotations", filter=Q(annotations__surplus=True)))
        .order_by("-labels", "pk")
    )


def questions_of(sheet: Sheet, slot: int) -> list[Question]:
    """The completion questions asked about one slot."""
    return sheet.asked(Question.Scope.COMPLETION) if slot in sheet.questioned else []
