"""What people said: rankings with ratings, and answers of their own (Demonstration). Append-only."""

from typing import Any

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Func, Q, Value

from labelapp.models.generation import Completion
from labelapp.models.jobs import Job
from labelapp.models.people import Annotator
from labelapp.models.projects import Protocol
from labelapp.models.prompts import Prompt
from labelapp.models.tasks import ComparisonTask, Seat


class Matches(Func):
    """A JSON column matches a JSONPath predicate."""

    function = "jsonb_path_match"
    output_field = models.BooleanField()

    def __init__(self, column: str, predicate: str, **extra: Any) -> None:
        super().__init__(F(column), Func(Value(predicate), template="%(expressions)s::jsonpath"), **extra)


# Every value is one of yes, no and na, or null for a question that was asked and left open.
# Strict, for the lax mode would look into nested arrays.
ANSWERS = 'strict $.type() == "object" && !exists($.* ? (!(@ == "yes" || @ == "no" || @ == "na" || @ == null)))'

# The types are asked for first: a comparison of unlike types is neither true nor false, and would pass.
EDGE = " && ".join(
    [
        '@.type() == "array" && @.size() == 5',
        *(f'@[{place}].type() == "number" && @[{place}] >= 0 && @[{place}] < 9' for place in (0, 1)),
        '@[0] != @[1] && (@[2] == ">" || @[2] == "=")',
        '(@[3].type() == "null" || @[3].type() == "number" && @[3] >= 1 && @[3] <= 4)',
        '@[4].type() == "number" && @[4] > 0',
    ]
)
EDGES = f'strict $.type() == "array" && !exists($[*] ? (!({EDGE})))'
TIERS = 'strict $.type() == "array" && !exists($[*] ? (!(@.type() == "array" && @.size() > 0)))'


class Marks(models.TextChoices):
    """Whether contradictions between ranking and ratings were marked while the person worked."""

    SHOWN = "shown", "Shown"
    CONTROL = "control", "Control: not shown"


class Annotation(models.Model):
    """One person's judgement of one task.

    `edges` is the truth: a list of [i, j, outcome, strength, weight], where i and j are slots of the task, outcome ">"
    means that i is preferred and "=" that both are about equal, strength is 1 (negligibly or unsure) to 4
    (significantly better), or null where it was not asked.
    `ranking` is the list of tiers, best first, that the edges came from, or null where they are no weak order.
    """

    task = models.ForeignKey(ComparisonTask, on_delete=models.PROTECT, related_name="annotations")
    annotator = models.ForeignKey(Annotator, on_delete=models.PROTECT, related_name="annotations", db_index=False)
    protocol = models.ForeignKey(Protocol, on_delete=models.PROTECT, related_name="annotations", db_index=False)
    seat = models.ForeignKey(Seat, on_delete=models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    supersedes = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    surplus = models.BooleanField(default=False, help_text="Came after all seats were filled: paid, not counted.")
    edges = models.JSONField(default=list)
    ranking = models.JSONField(null=True, blank=True)
    first_ranking = models.JSONField(null=True, blank=True, help_text="The first order entered, before any change.")
    order_shown = ArrayField(
        models.PositiveSmallIntegerField(), help_text="Slots in the order of their letters; empty where unknown."
    )
    answers = models.JSONField(default=dict, help_text="Questions about the prompt and the ranking, by key.")
    confidence = models.PositiveSmallIntegerField(null=True, blank=True)
    rationale = models.TextField(blank=True)
    active_seconds = models.PositiveIntegerField(null=True, blank=True, help_text="At work on it; for quality only.")
    active_by_stage = models.JSONField(default=dict, db_default=Value("{}", models.JSONField()), blank=True)
    paid_seconds = models.PositiveIntegerField(null=True, blank=True, help_text="From open to submit; for pay.")
    marks = models.CharField(
        max_length=7, choices=Marks, blank=True, default="", db_default="", help_text="Empty where they were not due."
    )
    before_marks = models.JSONField(
        null=True, blank=True, help_text="Ranking and ratings as they stood when the first mark was shown, or due."
    )
    edit = models.ForeignKey(
        Completion,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="edited_in",
        help_text="The best completion, improved by the annotator: preferred to it.",
    )
    edit_of = models.PositiveSmallIntegerField(null=True, blank=True, help_text="The slot that was improved.")
    idempotency_key = models.UUIDField(unique=True)
    imported_by = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["task", "annotator"], condition=Q(supersedes__isnull=True), name="annotation_once_per_person"
            ),
            models.UniqueConstraint(
                fields=["seat"],
                condition=Q(supersedes__isnull=True, seat__isnull=False),
                name="annotation_once_per_seat",
            ),
            models.UniqueConstraint(
                fields=["supersedes"], condition=Q(supersedes__isnull=False), name="annotation_superseded_once"
            ),
            models.CheckConstraint(condition=~Q(surplus=True, seat__isnull=False), name="annotation_surplus_seatless"),
            models.CheckConstraint(
                condition=Q(confidence__isnull=True) | Q(confidence__gte=1, confidence__lte=4),
                name="annotation_confidence",
            ),
            models.CheckConstraint(condition=Q(marks__in=["", "shown", "control"]), name="annotation_marks_known"),
            models.CheckConstraint(
                condition=Q(edit__isnull=True, edit_of__isnull=True) | Q(edit__isnull=False, edit_of__isnull=False),
                name="annotation_edit_of",
            ),
            models.CheckConstraint(condition=Q(Matches("answers", ANSWERS)), name="annotation_answers_known"),
            models.CheckConstraint(
                condition=Q(Matches("edges", EDGES)),
                name="annotation_edges_shape",
            ),
            models.CheckConstraint(
                condition=Q(ranking__isnull=True) | Q(Matches("ranking", TIERS)), name="annotation_ranking_shape"
            ),
            models.CheckConstraint(
                condition=Q(first_ranking__isnull=True) | Q(Matches("first_ranking", TIERS)),
                name="annotation_first_ranking_shape",
            ),
        ]
        indexes = [models.Index(fields=["annotator", "-created_at"], name="annotation_recent")]


class Rating(models.Model):
    """What an annotation says about one completion (slot) on its own."""

    annotation = models.ForeignKey(Annotation, on_delete=models.CASCADE, related_name="ratings", db_index=False)
    slot = models.PositiveSmallIntegerField()
    likert = models.PositiveSmallIntegerField(null=True, blank=True)
    answers = models.JSONField(default=dict, help_text="By question key: yes, no, na, or null for unanswered.")
    in_bulk = ArrayField(
        models.CharField(max_length=50),
        default=list,
        db_default=Value([], ArrayField(models.CharField(max_length=50))),
        blank=True,
        help_text="Keys answered by “none apply”, not one by one.",
    )

    class Meta:
        ordering = ["slot"]
        constraints = [
            models.UniqueConstraint(fields=["annotation", "slot"], name="rating_once_per_slot"),
            models.CheckConstraint(
                condition=Q(likert__isnull=True) | Q(likert__gte=1, likert__lte=10), name="rating_likert"
            ),
            models.CheckConstraint(condition=Q(Matches("answers", ANSWERS)), name="rating_answers_known"),
        ]


class Demonstration(models.Model):
    """The answer a person would want the model to give."""

    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="demonstrations")
    annotator = models.ForeignKey(Annotator, on_delete=models.PROTECT, related_name="demonstrations")
    text = models.TextField()
    text_hash = models.CharField(max_length=64)
    task = models.ForeignKey(
        ComparisonTask, on_delete=models.PROTECT, null=True, blank=True, related_name="demonstrations", db_index=False
    )
    seat = models.ForeignKey(Seat, on_delete=models.PROTECT, null=True, blank=True, related_name="+", db_index=False)
    surplus = models.BooleanField(default=False, db_default=False)
    active_seconds = models.PositiveIntegerField(null=True, blank=True)
    paid_seconds = models.PositiveIntegerField(null=True, blank=True)
    pasted_share = models.FloatField(null=True, blank=True, help_text="Share of the text that was pasted, 0 to 1.")
    pasted_source = models.CharField(max_length=500, blank=True, default="", db_default="")
    idempotency_key = models.UUIDField(unique=True, null=True, blank=True)
    supersedes = models.ForeignKey(
        "self", on_delete=models.PROTECT, null=True, blank=True, related_name="+", db_index=False
    )
    imported_by = models.ForeignKey(Job, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["prompt", "annotator", "text_hash"], name="demonstration_text_once"),
            models.UniqueConstraint(
                fields=["supersedes"], condition=Q(supersedes__isnull=False), name="demonstration_superseded_once"
            ),
            models.UniqueConstraint(
                fields=["task", "annotator"],
                condition=Q(supersedes__isnull=True, task__isnull=False),
                name="demonstration_once_per_person",
            ),
            models.UniqueConstraint(
                fields=["seat"],
                condition=Q(supersedes__isnull=True, seat__isnull=False),
                name="demonstration_once_per_seat",
            ),
            models.CheckConstraint(
                condition=~Q(surplus=True, seat__isnull=False), name="demonstration_surplus_seatless"
            ),
            models.CheckConstraint(
                condition=Q(pasted_share__isnull=True) | Q(pasted_share__gte=0, pasted_share__lte=1),
                name="demonstration_pasted_share",
            ),
        ]
