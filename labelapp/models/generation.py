"""Who writes completions (ModelVersion) and what they wrote (Completion)."""

from django.db import models
from django.db.models import F, Q

from labelapp.models.files import Artifact
from labelapp.models.jobs import Job
from labelapp.models.projects import Project
from labelapp.models.prompts import Prompt


class ModelVersion(models.Model):
    """A writer of completions: a model at one point of its training, or people as imported."""

    class Kind(models.TextChoices):
        """What the writer is."""

        HUMAN = "human", "Human writers"
        EXTERNAL = "external", "External model"
        BASE = "base", "Base model"
        SFT = "sft", "Supervised policy"
        REWARD = "reward", "Reward model"
        POLICY = "policy", "Policy"

    class State(models.TextChoices):
        """Where a model version stands."""

        # Enters when an import or an administrator names it; no weights are known here. Leaves by retirement.
        REGISTERED = "registered", "Registered"
        # Enters when a run finished or somebody named a folder or hub id: its weights can be had. Leaves by retirement.
        READY = "ready", "Ready"
        # Enters by an administrator's choice; writes nothing new. What it wrote stays. Final.
        RETIRED = "retired", "Retired"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="model_versions")
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=10, choices=Kind)
    parent = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="children")
    state = models.CharField(max_length=12, choices=State, default=State.REGISTERED)
    weights = models.ForeignKey(
        Artifact, on_delete=models.PROTECT, null=True, blank=True, related_name="+", help_text="Folder it loads from."
    )
    location = models.CharField(
        max_length=500, blank=True, help_text="Local folder or hub id, for models that were not made here."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="model_version_name_once"),
            models.CheckConstraint(
                condition=Q(parent__isnull=True) | ~Q(parent=F("id")), name="model_version_not_own_parent"
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["human", "external", "base", "sft", "reward", "policy"]),
                name="model_version_kind_known",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["registered", "ready", "retired"]), name="model_version_state_known"
            ),
            models.CheckConstraint(
                condition=~Q(state="ready") | Q(weights__isnull=False) | ~Q(location=""),
                name="model_version_ready_loads",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Completion(models.Model):
    """One answer to a prompt, with where it came from. Never changed."""

    prompt = models.ForeignKey(Prompt, on_delete=models.CASCADE, related_name="completions")
    model_version = models.ForeignKey(ModelVersion, on_delete=models.PROTECT, related_name="completions")
    text = models.TextField()
    text_hash = models.CharField(max_length=64, help_text="SHA-256 of the text.")
    source_key = models.CharField(
        max_length=200, help_text="Identity within prompt and model: the imported id, else the text hash."
    )
    sampling = models.JSONField(default=dict, blank=True, help_text="Temperature, top-p, max tokens and the like.")
    seed = models.BigIntegerField(null=True, blank=True)
    finish_reason = models.CharField(
        max_length=10,
        blank=True,
        db_default="",
        help_text="stop: it ended by itself; length: it was cut; empty: not known.",
    )
    sampled_by = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, blank=True, related_name="completions")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["prompt", "model_version", "source_key"], name="completion_once"),
            models.CheckConstraint(
                condition=Q(finish_reason__in=["", "stop", "length"]), name="completion_finish_reason_known"
            ),
        ]
