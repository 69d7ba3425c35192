"""What surrounds the labels: reports, questions, guideline examples, practice, working time and exposure."""

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone

from labelapp.models.annotations import Annotation
from labelapp.models.people import Annotator
from labelapp.models.projects import Project, Protocol
from labelapp.models.tasks import ComparisonTask


class Report(models.Model):
    """Something about a task that reviewers have to look at: the triage list."""

    class Kind(models.TextChoices):
        """What is the matter."""

        PERSONAL_DATA = "personal_data", "It contains personal data"
        NEEDS_EXPERT = "needs_expert", "It needs an expert"
        SENSITIVE = "sensitive", "It is sensitive, and not marked so"
        BROKEN = "broken", "Something on the page is broken"
        OTHER = "other", "Something else"
        # Made when three different people have skipped the task.
        SKIPS = "skips", "Three people skipped it"

    class State(models.TextChoices):
        """Where it stands."""

        # Enters when made. Personal data and skips withdraw seats meanwhile. Leaves by a reviewer's decision.
        OPEN = "open", "Open"
        # The task goes on. Final.
        RELEASED = "released", "Goes on"
        # The task, or its prompt, stays away. Final.
        REMOVED = "removed", "Removed"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="reports")
    task = models.ForeignKey(ComparisonTask, on_delete=models.CASCADE, related_name="reports")
    annotator = models.ForeignKey(Annotator, on_delete=models.CASCADE, null=True, blank=True, related_name="reports")
    kind = models.CharField(max_length=13, choices=Kind)
    note = models.CharField(max_length=1000, blank=True)
    skill = models.CharField(max_length=50, blank=True, help_text="What an expert for it must know.")
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    answer = models.CharField(max_length=1000, blank=True)
    closed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    closed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["task", "annotator", "kind"],
                condition=Q(state="open"),
                nulls_distinct=False,
                name="report_open_once",
            ),
            models.CheckConstraint(
                condition=Q(kind__in=["personal_data", "needs_expert", "sensitive", "broken", "other", "skips"]),
                name="report_kind_known",
            ),
            models.CheckConstraint(
                condition=Q(state="open", closed_at__isnull=True)
                | Q(state__in=["released", "removed"], closed_at__isnull=False),
                name="report_state_consistent",
            ),
        ]
        indexes = [models.Index(fields=["project", "state", "created_at"], name="report_list")]


class Inquiry(models.Model):
    """A labeler's question about a task, and its answer."""

    task = models.ForeignKey(ComparisonTask, on_delete=models.CASCADE, related_name="inquiries")
    annotator = models.ForeignKey(Annotator, on_delete=models.CASCADE, related_name="inquiries")
    text = models.CharField(max_length=2000)
    answer = models.TextField(blank=True, help_text="Markdown.")
    answered_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    answered_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True, help_text="When the labeler saw the answer.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(answered_at__isnull=True) | ~Q(answer=""), name="inquiry_answered_in_words"
            )
        ]


class GuidelineExample(models.Model):
    """A case and what to do in it, shown with the guidelines of every version of a protocol."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="guideline_examples")
    protocol_name = models.CharField(max_length=100)
    title = models.CharField(max_length=200)
    text = models.TextField(help_text="Markdown.")
    inquiry = models.ForeignKey(Inquiry, on_delete=models.SET_NULL, null=True, blank=True, related_name="examples")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        indexes = [models.Index(fields=["project", "protocol_name"], name="guideline_examples")]


class GuidelineVisit(models.Model):
    """When a person last read the guidelines of a protocol, and in which version."""

    annotator = models.ForeignKey(Annotator, on_delete=models.CASCADE, related_name="+", db_index=False)
    protocol = models.ForeignKey(Protocol, on_delete=models.CASCADE, related_name="+")
    protocol_name = models.CharField(max_length=100)
    seen_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["annotator", "protocol_name"], name="guideline_visit_once")]


class PracticeExample(models.Model):
    """A worked example to practise on: what the team would say, and why."""

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="practice_examples")
    protocol_name = models.CharField(max_length=100)
    title = models.CharField(max_length=200)
    messages = models.JSONField(help_text="List of {role, content}, as in a prompt.")
    completions = models.JSONField(help_text="List of {text, explanation}, likert where it is asked.")
    ranking = models.JSONField(help_text="Tiers of places in that list, best first.")
    explanation = models.TextField(help_text="Markdown.")
    position = models.PositiveSmallIntegerField(default=0)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        ordering = ["position", "pk"]
        indexes = [models.Index(fields=["project", "protocol_name"], name="practice_examples")]


class TimeEntry(models.Model):
    """Paid time beside labels: reading guidelines, practice, breaks, and tasks that were skipped."""

    class Kind(models.TextChoices):
        """What it was spent on."""

        GUIDELINES = "guidelines", "Reading the guidelines"
        PRACTICE = "practice", "Practice"
        BREAK = "break", "Break"
        SKIPPED = "skipped", "Tasks skipped or reported"
        PROMPTS = "prompts", "Writing prompts"
        GRANTED = "granted", "Granted after a dispute"

    annotator = models.ForeignKey(Annotator, on_delete=models.CASCADE, related_name="time_entries", db_index=False)
    kind = models.CharField(max_length=10, choices=Kind)
    task = models.ForeignKey(ComparisonTask, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    seconds = models.PositiveIntegerField()
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["guidelines", "practice", "break", "skipped", "prompts", "granted"]),
                name="time_entry_kind_known",
            )
        ]
        indexes = [models.Index(fields=["annotator", "-created_at"], name="time_entry_recent")]


class TimeDispute(models.Model):
    """A labeler says that their paid time is wrong."""

    class State(models.TextChoices):
        """Where it stands."""

        # Enters when made. Leaves by an admin's decision.
        OPEN = "open", "Open"
        # More time was granted. Final.
        GRANTED = "granted", "Granted"
        # It stays as counted. Final.
        DECLINED = "declined", "Declined"

    annotator = models.ForeignKey(Annotator, on_delete=models.CASCADE, related_name="time_disputes")
    annotation = models.ForeignKey(Annotation, on_delete=models.CASCADE, null=True, blank=True, related_name="+")
    day = models.DateField(help_text="The day it is about.")
    claimed_seconds = models.PositiveIntegerField(help_text="How much is missing, as the labeler says.")
    text = models.CharField(max_length=1000)
    state = models.CharField(max_length=8, choices=State, default=State.OPEN)
    granted_seconds = models.PositiveIntegerField(null=True, blank=True)
    answer = models.CharField(max_length=1000, blank=True)
    closed_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    closed_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state="open", closed_at__isnull=True)
                | Q(state="granted", closed_at__isnull=False, granted_seconds__isnull=False)
                | Q(state="declined", closed_at__isnull=False),
                name="time_dispute_state_consistent",
            )
        ]


class Exposure(models.Model):
    """How long a person has been shown sensitive content today, and at a stretch."""

    annotator = models.OneToOneField(Annotator, on_delete=models.CASCADE, related_name="exposure")
    day = models.DateField()
    seconds_today = models.PositiveIntegerField(default=0)
    stretch_seconds = models.PositiveIntegerField(default=0, help_text="Since the last pause of 15 minutes.")
    last_at = models.DateTimeField()
