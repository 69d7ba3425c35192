"""A project, and the labeling protocols that say what its labelers are asked."""

import secrets

from django.conf import settings
from django.db import models
from django.db.models import F, Q


def new_salt() -> str:
    """Random text that makes a project's shuffles and splits its own."""
    return secrets.token_hex(16)


class Project(models.Model):
    """Everything belongs to a project: people, prompts, labels, models."""

    name = models.CharField(max_length=100)
    slug = models.SlugField(max_length=60, unique=True)
    description = models.TextField(blank=True)
    salt = models.CharField(max_length=32, default=new_salt, editable=False)
    asks_prompts = models.BooleanField(default=False, help_text="Labelers may write prompts of their own.")
    use_cases = models.TextField(blank=True, help_text="One per line: what people use the model for.")
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    def __str__(self) -> str:
        return self.name


class Protocol(models.Model):
    """What labelers are asked, in one version. Used once, it never changes again: a new version is a new row."""

    class Layout(models.TextChoices):
        """How a task is laid out."""

        ONE_PAGE = "one_page", "Everything on one page"
        TWO_STAGE = "two_stage", "Rate each completion first, then rank all"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="protocols")
    name = models.CharField(max_length=100)
    version = models.PositiveIntegerField(default=1)
    guidelines = models.TextField(blank=True, help_text="Markdown, shown beside every task.")
    layout = models.CharField(max_length=10, choices=Layout, default=Layout.ONE_PAGE)
    asks_ranking = models.BooleanField(default=True)
    ties_allowed = models.BooleanField(default=True)
    strength_steps = models.PositiveSmallIntegerField(
        default=8, help_text="At two completions: 8 steps (four each way), 9 with “about equal”, or 0 for none."
    )
    likert_points = models.PositiveSmallIntegerField(
        default=7, help_text="Points of the rating scale; 2 is thumbs down and up, 0 asks for none."
    )
    likert_low = models.CharField(max_length=60, default="Very poor", blank=True)
    likert_high = models.CharField(max_length=60, default="Excellent", blank=True)
    questions_all_up_to = models.PositiveSmallIntegerField(
        default=4, help_text="With more completions than this, questions are asked about a random few only."
    )
    questions_sample = models.PositiveSmallIntegerField(default=2, help_text="How many those few are.")
    asks_confidence = models.BooleanField(default=False)
    asks_rationale = models.BooleanField(default=False)
    asks_edit = models.BooleanField(default=False, help_text="Offers to improve the best completion.")
    marks_contradictions = models.BooleanField(
        default=True, help_text="Marks where ranking and ratings disagree, except in a fifth of tasks, the control."
    )
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)
    used_at = models.DateTimeField(null=True, blank=True, help_text="Since then the database refuses changes.")

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name", "version"], name="protocol_version_once"),
            models.CheckConstraint(condition=Q(strength_steps__in=[0, 8, 9]), name="protocol_strength_steps"),
            models.CheckConstraint(condition=Q(likert_points__in=[0, 2, 5, 7, 10]), name="protocol_likert_points"),
            models.CheckConstraint(
                condition=Q(asks_ranking=True) | Q(likert_points__gt=0), name="protocol_asks_something"
            ),
            models.CheckConstraint(
                condition=Q(questions_sample__lte=F("questions_all_up_to")), name="protocol_question_sample"
            ),
            # "About equal" is the ninth step, so nine steps without ties contradict each other.
            models.CheckConstraint(
                condition=Q(ties_allowed=True) | ~Q(strength_steps=9), name="protocol_nine_steps_tie"
            ),
            models.CheckConstraint(condition=Q(layout__in=["one_page", "two_stage"]), name="protocol_layout_known"),
        ]

    def __str__(self) -> str:
        return f"{self.name}, version {self.version}"


class Question(models.Model):
    """One yes/no question of a protocol."""

    class Scope(models.TextChoices):
        """What the question is about."""

        PROMPT = "prompt", "The prompt"
        COMPLETION = "completion", "Each completion"
        RANKING = "ranking", "The ranking"

    class Polarity(models.TextChoices):
        """Whether yes speaks for or against."""

        GOOD = "good", "Yes is good"
        BAD = "bad", "Yes is bad"
        DESCRIPTIVE = "descriptive", "Neither"

    class Severity(models.TextChoices):
        """How much a bad answer weighs."""

        NONE = "none", "None"
        MINOR = "minor", "Minor"
        SEVERE = "severe", "Severe"

    protocol = models.ForeignKey(Protocol, on_delete=models.CASCADE, related_name="questions")
    key = models.SlugField(max_length=50)
    text = models.CharField(max_length=200)
    help = models.CharField(max_length=400, blank=True)
    scope = models.CharField(max_length=10, choices=Scope, default=Scope.COMPLETION)
    polarity = models.CharField(max_length=11, choices=Polarity, default=Polarity.BAD)
    severity = models.CharField(max_length=6, choices=Severity, default=Severity.MINOR)
    allows_na = models.BooleanField(default=False, help_text="Offers “not applicable” beside yes and no.")
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering = ["position", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["protocol", "key"], name="question_key_once"),
            models.CheckConstraint(
                condition=Q(scope__in=["prompt", "completion", "ranking"]), name="question_scope_known"
            ),
            models.CheckConstraint(
                condition=Q(polarity__in=["good", "bad", "descriptive"]), name="question_polarity_known"
            ),
            models.CheckConstraint(
                condition=Q(severity__in=["none", "minor", "severe"]), name="question_severity_known"
            ),
            models.CheckConstraint(
                condition=Q(polarity="bad") | Q(severity="none"), name="question_severity_needs_bad"
            ),
        ]

    def __str__(self) -> str:
        return self.text
