"""Reads about the panel."""

from django.db.models import QuerySet

from labelapp.demo.panel import PANEL
from labelapp.models import Annotator, Batch, Job, Project

KIND = "panel"
"""The kind of job that the panel's work is."""


def panel_exists(project: Project) -> bool:
    """Whether somebody brought the simulated panel into the project."""
    names = [panelist.name for panelist in PANEL]
    return Annotator.objects.filter(project=project, kind=Annotator.Kind.SIMULATED, name__in=names).exists()


def panel_jobs(batch: Batch) -> QuerySet[Job]:
    """What the panel was asked to do in a batch, oldest first."""
    return Job.objects.filter(project=batch.project_id, kind=KIND, payload__batch=batch.pk).order_by("pk")


def panel_works(batch: Batch) -> bool:
    """Whether the panel is at work on the batch, or about to be."""
    return panel_jobs(batch).filter(state__in=[Job.State.QUEUED, Job.State.RUNNING]).exists()


def panel_waits(batch: Batch | None) -> bool:
    """Whether there is a panel that could be asked to label the batch now."""
    is_open = batch is not None and batch.state == Batch.State.OPEN
    return bool(batch and is_open and panel_exists(batch.project) and not panel_works(batch))
