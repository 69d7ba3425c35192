"""The loop as an object."""

from django.conf import settings
from django.db import models

from labelapp.models.generation import ModelVersion
from labelapp.models.jobs import Job
from labelapp.models.projects import Project
from labelapp.models.snapshots import Snapshot
from labelapp.models.tasks import Batch
from labelapp.models.training import Run


class Round(models.Model):
    """One turn of the ring: a policy writes, people label, labels are frozen, a reward model and a policy are trained.

    Each arrow of the ring leaves its trace in one field; the states of what they point at say how far the round is.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="rounds")
    number = models.PositiveIntegerField()
    policy = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, related_name="rounds", help_text="Wrote this round's completions."
    )
    sampling = models.ForeignKey(Job, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    batch = models.ForeignKey(Batch, on_delete=models.PROTECT, null=True, blank=True, related_name="rounds")
    freeze = models.ForeignKey(Job, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, null=True, blank=True, related_name="rounds")
    reward_run = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    policy_run = models.ForeignKey(Run, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    options = models.JSONField(default=dict, blank=True, help_text="How each step is done unless told otherwise.")
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["project", "number"], name="round_number_once")]

    def __str__(self) -> str:
        return f"Round {self.number}"
