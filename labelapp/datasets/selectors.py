"""Reads of the datasets room."""

from collections import Counter

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404

from labelapp.datasets.selection import CAUSES, Cause
from labelapp.datasets.services import KIND
from labelapp.datasets.snapshots import FREEZE
from labelapp.errors import DomainError
from labelapp.jobs.selectors import jobs_of
from labelapp.models import Artifact, Job, Project, Snapshot

SHOWN = 10
"""How many digests a message names."""


def imports_of(project: Project) -> QuerySet[Job]:
    """The project's imports, newest first, with who started them."""
    return jobs_of(project, kind=KIND)


def rejects_of(project: Project, job_id: int) -> Artifact:
    """The rejected rows of an import. Raises Http404 when there are none, or the import is another project's."""
    job = get_object_or_404(Job, project=project, kind=KIND, pk=job_id, result__has_key="rejects")
    return get_object_or_404(Artifact, project=project, kind=Artifact.Kind.REJECTS, pk=job.result["rejects"])


def snapshots_of(project: Project) -> QuerySet[Snapshot]:
    """The project's snapshots, newest first, with who made them."""
    return Snapshot.objects.filter(project=project).select_related("created_by").order_by("-pk")


def freezes_running(project: Project) -> QuerySet[Job]:
    """Freezes of the project that have not ended, newest first."""
    return jobs_of(project, kind=FREEZE).filter(state__in=[Job.State.QUEUED, Job.State.RUNNING])


def snapshot_of(project: Project, pk: int) -> Snapshot:
    """A snapshot of the project with its folder. Raises Http404 when there is none, or it is another project's."""
    return get_object_or_404(snapshots_of(project).select_related("folder"), pk=pk)


def snapshot_named(project: Project, digest: str) -> Snapshot:
    """The snapshot whose digest begins so. Raises DomainError when there is none, or more than one."""
    wanted = digest.strip().lower()
    if not wanted or set(wanted) - set("0123456789abcdef"):
        raise DomainError(f"“{digest}” is no beginning of a digest: those are made of 0 to 9 and a to f.")
    found = list(snapshots_of(project).filter(digest__startswith=wanted).select_related("folder")[:SHOWN])
    if len(found) == 1:
        return found[0]
    if found:
        digests = ", ".join(snapshot.digest[: len(wanted) + 4] for snapshot in found)
        raise DomainError(f"The digests of {len(found)} snapshots begin with “{wanted}”: {digests}. Write more of it.")
    known = ", ".join(snapshots_of(project).values_list("digest", flat=True)[:SHOWN])
    there = f"There are {known}." if known else "It has none yet."
    raise DomainError(f"No snapshot of {project.name} has a digest that begins with “{wanted}”. {there}")


def left_out_in_words(snapshot: Snapshot, counted: str = "left_out") -> list[tuple[int, str]]:
    """How many labels, or `demonstrations_left_out`, the snapshot is without, and why, the most first."""
    causes = Counter(snapshot.counts.get(counted, {})).most_common()
    return [(number, CAUSES[Cause(cause)]) for cause, number in causes]


def options_in_words(snapshot: Snapshot) -> list[tuple[str, str]]:
    """What a snapshot was asked for, option by option as people read it."""
    return [(name.replace("_", " ").capitalize(), _in_words(value)) for name, value in sorted(snapshot.options.items())]


def _in_words(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name}: {weight}" for name, weight in sorted(value.items())) or "none"
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "all"
    return f"{value:g}" if isinstance(value, float) else str(value)
