"""Reads of the datasets room."""

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404

from labelapp.datasets.services import KIND
from labelapp.jobs.selectors import jobs_of
from labelapp.models import Artifact, Job, Project


def imports_of(project: Project) -> QuerySet[Job]:
    """The project's imports, newest first, with who started them."""
    return jobs_of(project, kind=KIND)


def rejects_of(project: Project, job_id: int) -> Artifact:
    """The rejected rows of an import. Raises Http404 when there are none, or the import is another project's."""
    job = get_object_or_404(Job, project=project, kind=KIND, pk=job_id, result__has_key="rejects")
    return get_object_or_404(Artifact, project=project, kind=Artifact.Kind.REJECTS, pk=job.result["rejects"])
