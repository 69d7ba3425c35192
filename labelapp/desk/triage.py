"""Reads of the desk: what waits for a decision, and one task as somebody saw it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from django.db.models import Case, F, Model, QuerySet, Value, When
from django.db.models.fields.json import KeyTextTransform, KeyTransform
from django.db.models.functions import Left

from labelapp.accounts.sensitivity import CATEGORIES, category_label
from labelapp.labeling.presentation import LETTERS, order_shown
from labelapp.models import Annotator, ComparisonTask, Inquiry, Project, Prompt, Report, TaskSkip, TimeDispute

LISTED = 50
"""Most rows of each list; those who waited longest come first, so the rest is never forgotten."""

EXCERPT = 300
Row = TypeVar("Row", bound=Model)


@dataclass(frozen=True)
class Waiting(Generic[Row]):
    """The rows of one list that are shown, and whether there are more."""

    rows: Sequence[Row]
    more: bool


@dataclass(frozen=True)
class TaskSeen:
    """A task as the person saw it who reported it or asked: their letters, and no names of models."""

    task: ComparisonTask
    completions: list[tuple[str, str]]


def with_excerpt(rows: QuerySet[Row], prompt: str = "task__prompt") -> QuerySet[Row, Any]:
    """Add `excerpt`, the beginning of the prompt's last turn, with `sensitivity` and `kept_away`, which may hide it.

    The database cuts it: prompts can be long. `prompt` is the path to it.
    """
    last_turn = KeyTextTransform("content", KeyTransform("-1", f"{prompt}__messages"))
    annotated: QuerySet[Any, Any] = rows.annotate(
        excerpt=Left(last_turn, EXCERPT),
        sensitivity=F(f"{prompt}__sensitivity"),
        kept_away=F(f"{prompt}__quarantined_at"),
    )
    return annotated


def reports_open(project: Project) -> Waiting[Report]:
    """Reports to decide, personal data first, then the oldest."""
    urgent = Case(When(kind=Report.Kind.PERSONAL_DATA, then=Value(0)), default=Value(1))
    found = _with_task(Report.objects.filter(project=project, state=Report.State.OPEN))
    return _first(found.order_by(urgent, "created_at", "pk"))


def reports_decided(project: Project) -> Sequence[Report]:
    """What was decided lately, newest first."""
    decided = Report.objects.filter(project=project).exclude(state=Report.State.OPEN)
    return list(decided.select_related("closed_by").order_by("-closed_at", "-pk")[:10])


def inquiries_open(project: Project) -> Waiting[Inquiry]:
    """Questions without an answer, oldest first."""
    found = Inquiry.objects.filter(task__batch__project=project, answered_at__isnull=True)
    return _first(_with_task(found).order_by("created_at", "pk"))


def disputes_open(project: Project) -> Waiting[TimeDispute]:
    """Claims of missing time, oldest first."""
    found = TimeDispute.objects.filter(annotator__project=project, state=TimeDispute.State.OPEN)
    return _first(found.select_related("annotator__user").order_by("created_at", "pk"))


def task_seen(task: ComparisonTask, annotator: Annotator | None) -> TaskSeen:
    """The task's completions in the order in which this person saw them; in that of their slots for nobody."""
    rows = task.task_completions.select_related("completion").order_by("slot", "-pk")
    texts = {row.slot: row.completion.text for row in rows}
    order = sorted(texts)
    if annotator:
        salt = task.batch.project.salt
        order = order_shown(salt=salt, task_id=task.pk, annotator_id=annotator.pk, k=len(texts))
    return TaskSeen(task, [(letter, texts[slot]) for letter, slot in zip(LETTERS, order, strict=False)])


def skips_of_task(report: Report) -> list[TaskSkip]:
    """Why people skipped the task, where that is what the report is about."""
    if report.kind != Report.Kind.SKIPS:
        return []
    return list(TaskSkip.objects.filter(task=report.task_id).order_by("created_at", "pk"))


def categories_to_add(prompt: Prompt) -> dict[str, str]:
    """The categories of sensitive content that a prompt is not marked with yet, by key."""
    return {key: category_label(key) for key in CATEGORIES if key not in prompt.sensitivity}


def veils(prompt: Prompt, kind: str = "") -> list[str]:
    """Why the text of a prompt is not shown before somebody asks for it, in words; empty where it is shown."""
    reasons = [category_label(key) for key in prompt.sensitivity]
    if kind == Report.Kind.PERSONAL_DATA:
        reasons.insert(0, "Reported as personal data")
    elif prompt.quarantined_at:
        reasons.insert(0, "Kept away")
    if kind == Report.Kind.SENSITIVE:
        reasons.append("Reported as sensitive")
    return reasons


def _with_task(rows: QuerySet[Row]) -> QuerySet[Row, Any]:
    return with_excerpt(rows.select_related("annotator__user"))


def _first(rows: QuerySet[Row, Any]) -> Waiting[Row]:
    found = list(rows[: LISTED + 1])
    return Waiting(found[:LISTED], len(found) > LISTED)
