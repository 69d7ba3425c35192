"""What a model is asked."""

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import Q

from labelapp.models.people import Annotator
from labelapp.models.projects import Project


class Prompt(models.Model):
    """A conversation that waits for the next assistant turn. Its words and its split never change."""

    class Split(models.TextChoices):
        """Which prompts may train models. Assigned once, by author where one is known."""

        TRAIN = "train", "Train"
        VALIDATION = "validation", "Validation"
        TEST = "test", "Test"

    class WrittenAs(models.TextChoices):
        """How a labeler came to write it (InstructGPT, appendix A.1)."""

        PLAIN = "plain", "Any task they thought of"
        FEW_SHOT = "few_shot", "An instruction with worked examples"
        USER_BASED = "user_based", "For a use case that the project named"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="prompts")
    messages = models.JSONField(help_text="List of {role: system|user|assistant, content}; ends with a user turn.")
    content_hash = models.CharField(max_length=64, help_text="SHA-256 of the normalised messages.")
    source = models.CharField(max_length=200, blank=True)
    external_id = models.CharField(max_length=200, blank=True)
    author = models.CharField(max_length=200, blank=True, help_text="Who wrote it; decides the split.")
    split = models.CharField(max_length=10, choices=Split)
    language = models.CharField(max_length=20, blank=True)
    sensitivity = ArrayField(models.CharField(max_length=50), default=list, blank=True)
    tags = ArrayField(models.CharField(max_length=50), default=list, blank=True)
    written_by = models.ForeignKey(
        Annotator, on_delete=models.PROTECT, null=True, blank=True, related_name="prompts_written"
    )
    written_as = models.CharField(max_length=10, choices=WrittenAs, blank=True, db_default="", default="")
    quarantined_at = models.DateTimeField(
        null=True, blank=True, help_text="Since then nobody is shown it and nothing learns from it."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "content_hash"], name="prompt_content_once"),
            models.CheckConstraint(condition=Q(split__in=["train", "validation", "test"]), name="prompt_split_known"),
            models.CheckConstraint(
                condition=Q(written_as="", written_by__isnull=True)
                | Q(written_as__in=["plain", "few_shot", "user_based"]),
                name="prompt_written_as_known",
            ),
        ]
        indexes = [
            models.Index(fields=["project", "author"], name="prompt_author"),
            GinIndex(fields=["tags"], name="prompt_tags"),
        ]
