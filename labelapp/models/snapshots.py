"""Labels frozen for training."""

import secrets

from django.conf import settings
from django.db import models

from labelapp.models.files import Artifact
from labelapp.models.jobs import Job
from labelapp.models.people import Annotator
from labelapp.models.projects import Project


def new_key() -> str:
    """Random text that stands for an annotator."""
    return secrets.token_hex(8)


class AnnotatorKey(models.Model):
    """By which random name snapshots know an annotator. Emptying the table makes them forget who that was."""

    annotator = models.OneToOneField(Annotator, on_delete=models.CASCADE, related_name="key")
    key = models.CharField(max_length=16, unique=True, default=new_key)


class Snapshot(models.Model):
    """Labels as they stood at one moment, in a folder whose rows and options give it its identity. Never changed."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="snapshots")
    digest = models.CharField(max_length=64, help_text="SHA-256 of the canonical rows and options.")
    options = models.JSONField(help_text="What was asked for: see labelapp/datasets/snapshots.")
    counts = models.JSONField(help_text="Rows by table and split, and what was left out, by cause.")
    folder = models.ForeignKey(Artifact, on_delete=models.PROTECT, related_name="+")
    as_of = models.DateTimeField(help_text="Labels that came later are none of it.")
    job = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, blank=True, related_name="snapshots")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "digest"], name="snapshot_content_once")]

    def __str__(self) -> str:
        return f"Snapshot {self.digest[:8]}"
