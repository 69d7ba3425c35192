"""Reads of the writing room: a task as it is shown, what a person wrote, and how long answers are here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from django.db.models import Exists, OuterRef, QuerySet
from django.utils import timezone
from django.utils.translation import get_language

from labelapp.accounts.sensitivity import category_label
from labelapp.labeling.selectors import CORRECTION_TIME, correctable_until, frozen_before
from labelapp.models import Annotator, Batch, ComparisonTask, Demonstration, Draft, Project, Prompt
from labelapp.writing.answers import length_range, words_count

GUIDE_FROM = 100
RECENT = 20


@dataclass(frozen=True)
class WritingShown:
    """A task as the person sees it who writes its answer."""

    task: ComparisonTask
    draft: Draft | None = None
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def sensitivity(self) -> list[str]:
        """The sensitive categories of the prompt, in words."""
        return [category_label(key) for key in self.task.prompt.sensitivity]


@dataclass(frozen=True)
class Written:
    """A person's answer as it stands, and until when it can be changed."""

    demonstration: Demonstration
    correctable_until: datetime | None


def writing_shown(*, task_id: int, annotator: Annotator, posted: Mapping[str, str] | None = None) -> WritingShown:
    """The task, filled in as `posted`, else as the person's draft left it."""
    task = ComparisonTask.objects.select_related("prompt", "batch__protocol", "batch__project").get(pk=task_id)
    draft = Draft.objects.filter(annotator=annotator, task=task).first()
    fields = posted if posted is not None else draft.content if draft else {}
    return WritingShown(task=task, draft=draft, fields=fields)


def written_for(*, annotator: Annotator, task: ComparisonTask) -> Written | None:
    """The person's answer to a task as it stands."""
    theirs = Demonstration.objects.filter(prompt=task.prompt_id, task=task, annotator=annotator)
    chain = list(theirs.order_by("pk"))
    return Written(chain[-1], _correctable_until(task.batch.project_id, chain)) if chain else None


def written_recently(*, annotator: Annotator) -> list[Written]:
    """The person's newest answers to tasks as they stand, newest first."""
    roots = Demonstration.objects.filter(annotator=annotator, task__isnull=False, supersedes__isnull=True)
    tasks = list(roots.order_by("-pk").values_list("task_id", flat=True)[:RECENT])
    chains: dict[int, list[Demonstration]] = {task: [] for task in tasks}
    theirs = Demonstration.objects.filter(annotator=annotator, task__in=tasks).order_by("pk").select_related("prompt")
    for demonstration in theirs:
        chains[demonstration.task_id or 0].append(demonstration)
    frozen = frozen_before(annotator.project_id, Batch.Work.DEMONSTRATION)
    return [
        Written(chain[-1], correctable_until(chain[0].created_at, chain[-1].created_at, frozen))
        for chain in chains.values()
    ]


def length_guide(prompt: Prompt) -> tuple[int, int] | None:
    """From how many to how many words most accepted answers in the language of a prompt have; None where few are."""
    newer = Demonstration.objects.filter(supersedes=OuterRef("pk"))
    accepted = Demonstration.objects.filter(
        ~Exists(newer),
        prompt__project=prompt.project_id,
        prompt__language=prompt.language,
        surplus=False,
        created_at__lte=timezone.now() - CORRECTION_TIME,
    )
    texts = accepted.order_by("-pk").values_list("text", flat=True)[:GUIDE_FROM]
    return length_range([words_count(text) for text in texts])


def prompts_written(*, annotator: Annotator) -> QuerySet[Prompt]:
    """The prompts that a person wrote, newest first."""
    return Prompt.objects.filter(written_by=annotator).order_by("-pk")


def language_likely(annotator: Annotator) -> str:
    """The language a person will write in: that of the page where they read it, else the first of theirs."""
    page = (get_language() or "").split("-")[0].lower()
    same = [code for code in annotator.languages if code.split("-")[0].lower() == page]
    return next(iter([*same, *annotator.languages]), "")


def use_cases_of(project: Project) -> list[str]:
    """What people use the model for, as the project lists it."""
    return [line.strip() for line in project.use_cases.splitlines() if line.strip()]


def _correctable_until(project_id: int, chain: list[Demonstration]) -> datetime | None:
    frozen = frozen_before(project_id, Batch.Work.DEMONSTRATION)
    return correctable_until(chain[0].created_at, chain[-1].created_at, frozen)
