"""Reads of the labeling room: the sheet of a task, unfinished work, and how far batches have come."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.models import AnonymousUser
from django.db.models import Count, Exists, F, Model, OuterRef, Q, QuerySet
from django.utils import timezone

from labelapp.labeling.presentation import marks_group, order_shown, questioned_slots
from labelapp.labeling.protocols import protocol_asked
from labelapp.labeling.services.queue import seat_waits
from labelapp.labeling.sheet import Sheet, Stage
from labelapp.models import (
    Annotation,
    Annotator,
    Batch,
    ComparisonTask,
    Demonstration,
    Draft,
    Job,
    Pool,
    Project,
    Prompt,
    Question,
    Seat,
    Snapshot,
    TaskSkip,
    User,
)
from labelapp.statements import columns, instances, prepared

BUILD = "batch_build"
"""The kind of job that makes a batch's tasks."""
CORRECTION_TIME = timedelta(hours=24)
"""How long after it was first submitted work may be corrected; then it is settled."""


@dataclass(frozen=True)
class TaskShown:
    """A task as one person sees it: no ids of completions, no names of models."""

    task: ComparisonTask
    sheet: Sheet
    texts: list[str]
    draft: Draft | None = None
    fields: Mapping[str, str] = field(default_factory=dict)


PARTS: list[type[Model]] = [ComparisonTask, Prompt, Batch, Project, Draft]
SHOWN = f"""
SELECT {columns(ComparisonTask, "task")}, {columns(Prompt, "prompt")}, {columns(Batch, "batch")},
       {columns(Project, "project")}, {columns(Draft, "draft")},
       (SELECT json_agg(json_build_array(part.slot, completion.text) ORDER BY part.slot, part.id DESC)
        FROM labelapp_taskcompletion part JOIN labelapp_completion completion ON completion.id = part.completion_id
        WHERE part.task_id = task.id),
       NOT EXISTS (SELECT 1 FROM labelapp_annotation other
                   WHERE other.task_id = task.id AND other.annotator_id <> %(annotator)s)
FROM labelapp_comparisontask task
JOIN labelapp_prompt prompt ON prompt.id = task.prompt_id
JOIN labelapp_batch batch ON batch.id = task.batch_id
JOIN labelapp_project project ON project.id = batch.project_id
LEFT JOIN labelapp_draft draft ON draft.task_id = task.id AND draft.annotator_id = %(annotator)s
WHERE task.id = %(task)s
"""  # noqa: S608 (words of our own)


def task_shown(
    *,
    task_id: int,
    annotator: Annotator,
    posted: Mapping[str, str] | None = None,
    first_seat: bool | None = None,
    stage: Stage | None = None,
) -> TaskShown:
    """The task with its completions in this person's order, filled in as `posted`, else as their draft left it.

    `first_seat` is what their slip says, where they have one; `stage` is found out from the fields where it is None.
    """
    task, draft, text_of_slot, is_first = _task_known(task_id, annotator)
    protocol, questions = protocol_asked(task.batch.protocol_id)
    k, salt = len(text_of_slot), task.batch.project.salt
    order = order_shown(salt=salt, task_id=task.pk, annotator_id=annotator.pk, k=k)
    asked = questioned_slots(protocol=protocol, salt=salt, task_id=task.pk, annotator_id=annotator.pk, k=k)
    fields = posted if posted is not None else draft.content if draft else {}
    # Who has answered questions about the prompt goes on being asked them.
    about = [question.key for question in questions if question.scope == Question.Scope.PROMPT]
    is_first = is_first or any(fields.get(f"answer-{key}") for key in about)
    sheet = Sheet(
        protocol=protocol,
        questions=questions,
        order=order,
        questioned=frozenset(asked),
        stage=stage or Sheet.stage_of(protocol, k, fields),
        first_seat=is_first if first_seat is None else first_seat,
        group=marks_group(salt=salt, task_id=task.pk),
    )
    return TaskShown(task=task, sheet=sheet, texts=[text_of_slot[slot] for slot in order], draft=draft, fields=fields)


def _task_known(task_id: int, annotator: Annotator) -> tuple[ComparisonTask, Draft | None, dict[int, str], bool]:
    """Everything about a task that its page shows, in one query."""
    with prepared() as cursor:
        cursor.execute(SHOWN, {"task": task_id, "annotator": annotator.pk})
        row = cursor.fetchone()
    if row is None:
        raise ComparisonTask.DoesNotExist
    values = iter(row)
    task, prompt, batch, project, draft = instances(values, PARTS)
    task.prompt, task.batch, batch.project = prompt, batch, project
    if draft.pk is None:
        draft = None
    return task, draft, dict(next(values) or []), next(values)


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
    # What is in quarantine, or what the person has opted out of, is not shown again by their draft.
    may_see = drafts.filter(
        task__prompt__quarantined_at__isnull=True,
        task__prompt__sensitivity__contained_by=F("annotator__accepts_sensitive"),
    )
    return may_see.exclude(Exists(held)).exclude(Exists(submitted)).order_by("-saved_at")


def frozen_before(project_id: int, work: Batch.Work) -> datetime | None:
    """What was submitted by then is in a snapshot, or might be; None where no snapshot could hold work of this kind."""
    since = timezone.now() - CORRECTION_TIME
    frozen = Snapshot.objects.filter(project=project_id, as_of__gte=since).values_list("as_of", "options")
    reached = [
        as_of - timedelta(hours=options.get("settled_hours", 0))
        for as_of, options in frozen
        if work == Batch.Work.COMPARISON or options.get("demonstrations", True)
    ]
    return max(reached, default=None)


def correctable_until(begun: datetime, stands: datetime, frozen: datetime | None) -> datetime | None:
    """Until when work can be corrected that was first submitted, and last changed, then; None where that is over.

    `frozen` is what `frozen_before` says of its project.
    """
    until = begun + CORRECTION_TIME
    is_frozen = frozen is not None and stands <= frozen
    return None if is_frozen or until <= timezone.now() else until


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
    theirs = [Seat.State.HELD, Seat.State.RESERVED]
    return _seats_to_come(annotator).filter(state__in=theirs).exclude(annotator=annotator).count()


def task_waits(*, annotator: Annotator, work: Batch.Work = Batch.Work.COMPARISON) -> bool:
    """Whether a person who asked for the next task would get one. Takes nothing and locks nothing."""
    return seat_waits(annotator, work=work)


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
    """Progress by batch id, in four queries whatever their number."""
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
    surplus: Counter[int] = Counter()
    for written in (Annotation, Demonstration):
        beyond = written.objects.filter(task__batch__in=ids, surplus=True, supersedes__isnull=True)
        surplus.update(dict(beyond.values_list("task__batch").annotate(Count("pk"))))
    return {
        pk: Progress(
            tasks=tasks.get(pk, 0),
            seats=seats[pk]["seats"] if pk in seats else 0,
            held=seats[pk]["held"] if pk in seats else 0,
            filled=seats[pk]["filled"] if pk in seats else 0,
            surplus=surplus[pk],
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
    said = "demonstrations" if batch.work == Batch.Work.DEMONSTRATION else "annotations"
    return (
        Annotator.objects.filter(**{f"{said}__task__batch": batch, f"{said}__supersedes__isnull": True})
        .values("pk", "kind", "name", "user__name")
        .annotate(labels=Count(said), surplus=Count(said, filter=Q(**{f"{said}__surplus": True})))
        .order_by("-labels", "pk")
    )
