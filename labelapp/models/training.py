"""Runs of the trainer, what they log, and what reward models say about completions."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from labelapp.models.generation import Completion, ModelVersion
from labelapp.models.jobs import Job
from labelapp.models.projects import Project
from labelapp.models.snapshots import Snapshot


class RunKind(models.TextChoices):
    """What a run makes. The values are the trainer's commands."""

    SFT = "sft", "Supervised policy"
    REWARD = "reward", "Reward model"
    PREFERENCE = "preference", "Policy from preferences"
    COMBINE = "combine", "Combined reward model"


class Run(models.Model):
    """One training, from a snapshot and a starting model to a new model version; or several models as one.

    A combination has members in place of a starting model, and a snapshot only where somebody named one.

    Where it stands is the state of its job: the newest one, since a run that stopped is resumed by another job.
    """

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="runs")
    kind = models.CharField(max_length=10, choices=RunKind)
    name = models.CharField(max_length=100)
    snapshot = models.ForeignKey(Snapshot, on_delete=models.PROTECT, null=True, blank=True, related_name="runs")
    start = models.ForeignKey(
        ModelVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="runs_started"
    )
    reference = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    result = models.OneToOneField(ModelVersion, on_delete=models.PROTECT, null=True, blank=True, related_name="made_by")
    job = models.ForeignKey(Job, on_delete=models.PROTECT, related_name="runs")
    options = models.JSONField(help_text="As asked for: the trainer's options without paths.")
    config = models.JSONField(default=dict, blank=True, help_text="As resolved by the trainer.")
    report = models.JSONField(default=dict, blank=True, help_text="What the trainer measured at the end.")
    events_offset = models.BigIntegerField(default=0, help_text="Bytes of its events.jsonl that were taken in.")
    code_version = models.CharField(max_length=64, blank=True)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="run_name_once"),
            models.CheckConstraint(condition=Q(kind__in=RunKind.values), name="run_kind_known"),
            models.CheckConstraint(
                condition=Q(kind="combine", start__isnull=True, reference__isnull=True)
                | (~Q(kind="combine") & Q(start__isnull=False, snapshot__isnull=False)),
                name="run_starts_or_combines",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class RunMember(models.Model):
    """A reward model that a run combines with others. Never changed."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="members", db_index=False)
    model_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="memberships")
    place = models.PositiveSmallIntegerField(help_text="From 1. Weights, and which model is for safety, go by it.")

    class Meta:
        ordering = ["place"]
        constraints = [
            models.UniqueConstraint(fields=["run", "place"], name="run_member_place_once"),
            models.UniqueConstraint(fields=["run", "model_version"], name="run_member_once"),
            models.CheckConstraint(condition=Q(place__gte=1), name="run_member_place_from_1"),
        ]


class RunEvent(models.Model):
    """A line that a run logged: what it measured at one step."""

    run = models.ForeignKey(Run, on_delete=models.CASCADE, related_name="events", db_index=False)
    kind = models.CharField(max_length=20, help_text="train: of a step; eval: on held-out prompts.")
    step = models.PositiveIntegerField()
    values = models.JSONField()
    logged_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["run", "kind", "step"], name="run_event_once")]


class CompletionScore(models.Model):
    """What a reward model says about a completion, and how much its members disagree where it has several."""

    completion = models.ForeignKey(Completion, on_delete=models.CASCADE, related_name="scores", db_index=False)
    model_version = models.ForeignKey(ModelVersion, on_delete=models.CASCADE, related_name="scores")
    score = models.FloatField()
    disagreement = models.FloatField(
        null=True, blank=True, help_text="Standard deviation between the scores of an ensemble's members."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["completion", "model_version"], name="completion_score_once")]
