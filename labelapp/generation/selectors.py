"""Reads about models, the jobs that sample from them, and what came of these."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, QuerySet

from labelapp.jobs.selectors import jobs_of
from labelapp.models import Completion, Job, ModelVersion, Project

KIND = "sample"
"""The kind of jobs that sample."""


@dataclass(frozen=True)
class ModelShare:
    """One model's part of a sampling job: what was asked of it, and how many completions of it are there."""

    model: ModelVersion
    n: int
    completions: int
    counts: Mapping[str, Any]


def models_sampleable(project: Project) -> QuerySet[ModelVersion]:
    """The project's models that can write completions, newest first."""
    writers = ModelVersion.objects.filter(project=project, state=ModelVersion.State.READY)
    return writers.exclude(kind__in=[ModelVersion.Kind.REWARD, ModelVersion.Kind.HUMAN]).order_by("-pk")


def samplings_of(project: Project) -> QuerySet[Job]:
    """The project's sampling jobs, newest first, with who started them."""
    return jobs_of(project, kind=KIND)


def completions_sampled(job: Job) -> QuerySet[Completion]:
    """What a sampling job has brought so far, prompt by prompt, with prompts and models."""
    found = Completion.objects.filter(sampled_by=job).select_related("prompt", "model_version")
    return found.order_by("prompt_id", "model_version_id", "pk")


def model_shares(job: Job) -> list[ModelShare]:
    """What each model of a sampling job was asked for and has brought, in the order in which they take turns."""
    asked: list[dict[str, int]] = job.payload["models"]
    models = ModelVersion.objects.in_bulk([one["model"] for one in asked])
    brought = Completion.objects.filter(sampled_by=job).order_by().values("model_version")
    numbers = dict(brought.annotate(number=Count("pk")).values_list("model_version", "number"))
    ended = {one["model"]: one for one in job.cursor.get("reports", [])}
    return [
        ModelShare(models[pk], one["n"], numbers.get(pk, 0), ended.get(pk, {}))
        for one in asked
        if (pk := one["model"]) in models
    ]
