"""Asking models for completions: which prompts, how many by whom, and the job that does it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from operator import or_
from typing import Any

from django.db import transaction
from django.db.models import Exists, F, Max, OuterRef, Q, QuerySet, TextField, Value
from django.db.models.functions import MD5, Cast, Concat

from labelapp.accounts.audit import audit_record
from labelapp.errors import DomainError
from labelapp.generation.model_versions import sampling_problem
from labelapp.generation.selectors import KIND
from labelapp.jobs.services import job_create
from labelapp.models import Completion, Job, ModelVersion, Project, Prompt, User
from trainer.config import options_read
from trainer.fields import OptionsError

MOST_PROMPTS = 10_000_000
"""What a choice may draw at most."""
NO_PROMPTS = "No prompt fits what was chosen. Take a restriction away, or bring prompts in first."


@dataclass(frozen=True)
class SampleChoice:
    """Which prompts are answered. What is empty does not restrict; `limit` draws so many at random.

    `unsampled` leaves out, for each model, the prompts that it has answered before. The newest rows are fixed by the
    job's first attempt.
    """

    split: str = ""
    source: str = ""
    tags: list[str] = field(default_factory=list)
    prompts: list[int] = field(default_factory=list)
    limit: int | None = None
    unsampled: bool = False
    newest_prompt: int | None = None
    newest_completion: int | None = None


@transaction.atomic
def completions_sample(
    *,
    project: Project,
    model_versions: Sequence[ModelVersion],
    choice: SampleChoice,
    options: Mapping[str, Any],
    created_by: User | None,
    n_by_model: Mapping[int, int] | None = None,
) -> Job:
    """Create the job that draws completions of the chosen prompts from each of the models, in turn; return it.

    `options` are those of the trainer's command `sample`; `n_by_model` gives a model, by its id, another number of
    completions per prompt than they say. Raises DomainError when a model cannot be sampled from, an option is no good,
    or no prompt fits.
    """
    settings = options_of(options)
    asked = [_asked(project, model, (n_by_model or {}).get(model.pk, settings["n"])) for model in model_versions]
    ids = [one["model"] for one in asked]
    if not ids:
        raise DomainError("Choose at least one model.")
    if len(set(ids)) != len(ids):
        raise DomainError("A model is named twice. Ask it once, for more completions per prompt.")
    _prompts_check(project, choice)
    if not prompts_chosen(project, choice, ids).exists():
        raise DomainError(NO_PROMPTS)
    job = job_create(
        project=project,
        kind=KIND,
        title=f"Sampling from {', '.join(model.name for model in model_versions)}",
        payload={"models": asked, "choice": asdict(choice), "options": settings},
        created_by=created_by,
        queue=Job.Queue.COMPUTE,
    )
    audit_record(actor=created_by, verb="completions_sample", subject=job, project_id=project.pk, models=len(ids))
    return job


def options_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """All options of `sample` in the types of JSON. Raises DomainError that names each one that is no good."""
    try:
        options = asdict(options_read(KIND, given))
    except OptionsError as error:
        raise DomainError(" ".join(f"{name}: it {problem}" for name, problem in error.problems.items())) from error
    return options | {"stop": list(options["stop"])}


def choice_fixed(project: Project, choice: SampleChoice) -> SampleChoice:
    """The choice without whatever comes in from now on. Must run in a transaction; waits for imports at work."""
    Project.objects.select_for_update(no_key=True).get(pk=project.pk)
    prompt = Prompt.objects.aggregate(newest=Max("pk", default=0))["newest"]
    completion = Completion.objects.aggregate(newest=Max("pk", default=0))["newest"]
    return replace(choice, newest_prompt=prompt, newest_completion=completion)


def prompts_chosen(project: Project, choice: SampleChoice, models: Sequence[int]) -> QuerySet[Prompt]:
    """All prompts that the choice admits, before any are drawn from them, for at least one of the models."""
    prompts = Prompt.objects.filter(project=project, quarantined_at__isnull=True)
    if choice.newest_prompt is not None:
        prompts = prompts.filter(pk__lte=choice.newest_prompt)
    if choice.prompts:
        prompts = prompts.filter(pk__in=choice.prompts)
    if choice.split:
        prompts = prompts.filter(split=choice.split)
    if choice.source:
        prompts = prompts.filter(source=choice.source)
    if choice.tags:
        prompts = prompts.filter(tags__contains=choice.tags)
    if choice.unsampled:
        before = [_completions(choice, model).filter(prompt=OuterRef("pk")) for model in models]
        prompts = prompts.filter(reduce(or_, [~Q(Exists(written)) for written in before]))
    return prompts


def prompts_drawn(job: Job, choice: SampleChoice, models: Sequence[int]) -> list[int]:
    """Ids of the prompts that the job answers, in an order that is random, yet the same in every attempt."""
    salt = Value(f"{job.project.salt}:{job.pk}:")
    place = MD5(Concat(salt, Cast(F("pk"), TextField()), output_field=TextField()))
    prompts = prompts_chosen(job.project, choice, models).alias(place=place).order_by("place")
    return list(prompts.values_list("pk", flat=True)[: choice.limit])


def prompts_of_model(drawn: Sequence[int], choice: SampleChoice, model: int) -> list[int]:
    """Those of the drawn prompts that this model answers, in their order."""
    if not choice.unsampled:
        return list(drawn)
    answered = set(_completions(choice, model).filter(prompt__in=drawn).values_list("prompt_id", flat=True))
    return [pk for pk in drawn if pk not in answered]


def _completions(choice: SampleChoice, model: int) -> QuerySet[Completion]:
    """What the model has written before."""
    completions = Completion.objects.filter(model_version=model)
    if choice.newest_completion is not None:
        completions = completions.filter(pk__lte=choice.newest_completion)
    return completions


def _asked(project: Project, model: ModelVersion, n: int) -> dict[str, int]:
    if model.project_id != project.pk:
        raise DomainError("This model belongs to another project. Choose one of this project.")
    if problem := sampling_problem(model):
        raise DomainError(problem)
    return {"model": model.pk, "n": options_of({"n": n})["n"]}


def _prompts_check(project: Project, choice: SampleChoice) -> None:
    if choice.limit is not None and choice.limit < 1:
        raise DomainError(f"At least one prompt must be drawn, not {choice.limit}.")
    if choice.limit is not None and choice.limit > MOST_PROMPTS:
        raise DomainError(f"At most {MOST_PROMPTS:,} prompts can be drawn. Give a lower limit, or none to take all.")
    wanted = set(choice.prompts)
    missing = len(wanted) - Prompt.objects.filter(project=project, pk__in=wanted).count()
    if missing:
        raise DomainError(f"{missing} of the {len(wanted)} prompts are not in this project.")
