"""Reads about projects that join."""

from dataclasses import dataclass, field

from django.contrib.auth.models import AnonymousUser
from django.db.models import Count, Exists, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce

from labelapp.accounts.access import projects_of
from labelapp.models import (
    Annotation,
    Annotator,
    Batch,
    Completion,
    Demonstration,
    Job,
    Membership,
    Project,
    Prompt,
    Protocol,
    User,
)

RECENT_JOBS = 5
ORIGINS = {
    Annotator.Kind.PERSON: "from people here",
    Annotator.Kind.EXTERNAL: "with imports",
    Annotator.Kind.JUDGE: "from judge models",
    Annotator.Kind.SIMULATED: "from simulations",
}
"""Where labels come from, in words, by the kind of annotator."""


@dataclass(frozen=True)
class Intake:
    """What a project holds."""

    prompts: int
    completions: int
    models: int
    demonstrations: int
    labels_by_origin: dict[str, int] = field(default_factory=dict)

    @property
    def labels(self) -> int:
        """Labels of all origins."""
        return sum(self.labels_by_origin.values())


def memberships_with_counts(user: User | AnonymousUser) -> QuerySet[Membership]:
    """The person's projects with `members` and `open_batches`."""
    members = _count(Membership.objects.filter(project=OuterRef("project"), ended_at__isnull=True), "project")
    batches = _count(Batch.objects.filter(project=OuterRef("project"), state=Batch.State.OPEN), "project")
    return projects_of(user).annotate(members=members, open_batches=batches)


def batches_at_work(project: Project) -> QuerySet[Batch]:
    """Open and paused batches, the most urgent first."""
    at_work = [Batch.State.OPEN, Batch.State.PAUSED]
    return Batch.objects.filter(project=project, state__in=at_work).order_by("state", "-priority", "pk")


def intake(project: Project) -> Intake:
    """Count what came in. A corrected label counts once."""
    labels = (
        Annotation.objects.filter(annotator__project=project, supersedes__isnull=True)
        .values_list("annotator__kind")
        .annotate(Count("pk"))
    )
    counts = dict(labels)
    return Intake(
        prompts=Prompt.objects.filter(project=project).count(),
        completions=Completion.objects.filter(model_version__project=project).count(),
        models=project.model_versions.count(),
        demonstrations=Demonstration.objects.filter(annotator__project=project, supersedes__isnull=True).count(),
        labels_by_origin={words: counts[kind] for kind, words in ORIGINS.items() if kind in counts},
    )


def jobs_recent(project: Project) -> QuerySet[Job]:
    """The newest long work, imports among it."""
    return Job.objects.filter(project=project).order_by("-created_at")[:RECENT_JOBS]


def protocols_newest(project: Project) -> QuerySet[Protocol]:
    """The newest version of each protocol, with `question_count` and `was_used` (in any version), by name."""
    versions = Protocol.objects.filter(project=OuterRef("project"), name=OuterRef("name"))
    newest = versions.order_by("-version").values("pk")[:1]
    return (
        Protocol.objects.filter(project=project, pk=Subquery(newest))
        .annotate(question_count=Count("questions"), was_used=Exists(versions.filter(used_at__isnull=False)))
        .order_by("name")
    )


def protocol_versions(protocol: Protocol) -> QuerySet[Protocol]:
    """All versions of a protocol, newest first."""
    return Protocol.objects.filter(project=protocol.project_id, name=protocol.name).order_by("-version")


def _count(rows: QuerySet[Membership] | QuerySet[Batch], column: str) -> Coalesce:
    counted = rows.order_by().values(column).annotate(number=Count("pk")).values("number")
    return Coalesce(Subquery(counted), 0)
