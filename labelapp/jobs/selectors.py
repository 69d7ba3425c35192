"""Reads about jobs."""

import hashlib

from django.db.models import QuerySet

from labelapp.models import Job, Project


def jobs_of(project: Project, *, kind: str = "") -> QuerySet[Job]:
    """The project's jobs, newest first, with who started them."""
    jobs = Job.objects.filter(project=project).select_related("created_by").order_by("-pk")
    return jobs.filter(kind=kind) if kind else jobs


def job_version(job: Job) -> str:
    """A short text that changes whenever something changes that the progress of a job shows."""
    shown = (job.state, job.done, job.total, job.message, job.cancel_requested, job.attempt)
    return hashlib.sha256(repr(shown).encode()).hexdigest()[:16]
