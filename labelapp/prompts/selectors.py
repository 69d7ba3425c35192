"""Reads about prompts that join."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from django.db import OperationalError, connection, transaction
from django.db.models import Count, OuterRef, Prefetch, QuerySet, Subquery, TextField
from django.db.models.functions import Cast, Coalesce
from psycopg.errors import QueryCanceled

from labelapp.errors import DomainError
from labelapp.models import Annotation, Completion, Project, Prompt, TaskCompletion

PAGE_SIZE = 50
SUGGESTIONS_FROM = 1_000
SHOWN_COMPLETIONS = 100
SHOWN_LABELS = 100
SEARCH_SECONDS = 5


@dataclass(frozen=True)
class PromptFilter:
    """Which prompts are looked for; empty fields let everything through."""

    words: str = ""
    split: str = ""
    tag: str = ""
    source: str = ""
    before: int | None = None
    after: int | None = None


@dataclass(frozen=True)
class PromptPage:
    """One page of prompts, newest first, with the ids that its neighbours start from."""

    prompts: Sequence[Prompt]
    newer_than: int | None
    older_than: int | None


@dataclass(frozen=True)
class LabelShown:
    """One annotation of a prompt, in the numbers that the page gives the completions."""

    annotation: Annotation
    order: str
    likert: list[tuple[str, int]]


def prompts_page(project: Project, wanted: PromptFilter, *, patience: float = SEARCH_SECONDS) -> PromptPage:
    """A page of prompts with `completion_count` and `label_count`, in one query whatever their number.

    Pages are found by id, so the last costs what the first does. Raises DomainError when a search for words takes
    more than `patience` seconds.
    """
    found = _prompts_filtered(project, wanted)
    newer = wanted.after is not None
    if newer:
        found = found.filter(pk__gt=wanted.after).order_by("pk")
    elif wanted.before is not None:
        found = found.filter(pk__lt=wanted.before)
    rows = _fetch(_with_counts(found)[: PAGE_SIZE + 1], patience=patience if wanted.words else None)
    more, rows = len(rows) > PAGE_SIZE, rows[:PAGE_SIZE]
    if newer:
        rows.reverse()
    return PromptPage(
        prompts=rows,
        newer_than=rows[0].pk if rows and (more if newer else wanted.before is not None) else None,
        older_than=rows[-1].pk if rows and (newer or more) else None,
    )


def prompt_suggestions(project: Project) -> tuple[list[str], list[str]]:
    """Sources and tags of the newest prompts, to choose from."""
    newest = Prompt.objects.filter(project=project).order_by("-pk").values_list("source", "tags")[:SUGGESTIONS_FROM]
    rows = list(newest)
    return sorted({source for source, _ in rows if source}), sorted({tag for _, tags in rows for tag in tags})


def completions_of(prompt: Prompt) -> QuerySet[Completion]:
    """The prompt's completions with their models, oldest first, up to a bound."""
    return prompt.completions.select_related("model_version").order_by("pk")[:SHOWN_COMPLETIONS]


def labels_of(prompt: Prompt, numbers: dict[int, int]) -> list[LabelShown]:
    """The newest labels of a prompt. `numbers` says which number the page gives a completion, by its id."""
    slots = Prefetch("task__task_completions", queryset=TaskCompletion.objects.order_by("slot", "pk"))
    annotations = (
        Annotation.objects.filter(task__prompt=prompt)
        .select_related("annotator__user", "task__batch", "protocol")
        .prefetch_related("ratings", slots)
        .order_by("-created_at", "-pk")[:SHOWN_LABELS]
    )
    return [_label_shown(annotation, numbers) for annotation in annotations]


def _prompts_filtered(project: Project, wanted: PromptFilter) -> QuerySet[Prompt]:
    found = Prompt.objects.filter(project=project).order_by("-pk")
    if wanted.split:
        found = found.filter(split=wanted.split)
    if wanted.tag:
        found = found.filter(tags__contains=[wanted.tag])
    if wanted.source:
        found = found.filter(source=wanted.source)
    if wanted.words:
        # The column holds JSON, where quotes and line ends are written with a backslash.
        words = json.dumps(wanted.words, ensure_ascii=False)[1:-1]
        found = found.annotate(words=Cast("messages", TextField())).filter(words__icontains=words)
    return found


def _with_counts(found: QuerySet[Prompt]) -> QuerySet[Prompt]:
    completions = Completion.objects.filter(prompt=OuterRef("pk")).order_by().values("prompt")
    labels = Annotation.objects.filter(task__prompt=OuterRef("pk"), supersedes__isnull=True).order_by()
    return found.annotate(
        completion_count=Coalesce(Subquery(completions.annotate(number=Count("pk")).values("number")), 0),
        label_count=Coalesce(Subquery(labels.values("task__prompt").annotate(number=Count("pk")).values("number")), 0),
    )


def _fetch(found: QuerySet[Prompt], *, patience: float | None) -> list[Prompt]:
    """Run the query, for so many seconds at the most."""
    if patience is None:
        return list(found)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT set_config('statement_timeout', %s, true)", [f"{patience * 1000:.0f}ms"])
            rows = list(found)
            cursor.execute("SET LOCAL statement_timeout TO DEFAULT")
    except OperationalError as error:
        if isinstance(error.__cause__, QueryCanceled):
            raise DomainError(
                f"The search took more than {patience:g} seconds and was stopped. "
                "Narrow it by a split, a tag or a source."
            ) from error
        raise
    return rows


def _label_shown(annotation: Annotation, numbers: dict[int, int]) -> LabelShown:
    names: dict[int, str] = {}
    for row in annotation.task.task_completions.all():
        number = str(numbers.get(row.completion_id, "?"))
        names[row.slot] = f"{names[row.slot]}/{number}" if row.slot in names else number
    if annotation.ranking:
        order = " > ".join(" = ".join(names.get(slot, "?") for slot in tier) for tier in annotation.ranking)
    else:
        order = ", ".join(f"{names.get(a, '?')} {sign} {names.get(b, '?')}" for a, b, sign, *_ in annotation.edges)
    ratings = [(names.get(rating.slot, "?"), rating.likert) for rating in annotation.ratings.all()]
    return LabelShown(annotation, order, [(name, likert) for name, likert in ratings if likert is not None])
