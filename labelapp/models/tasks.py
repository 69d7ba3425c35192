"""Work to be labelled: batches of tasks, and the seats through which each task gets exactly its overlap of labels."""

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Func, Q, Value

from labelapp.models.generation import Completion
from labelapp.models.people import Annotator
from labelapp.models.projects import Project, Protocol
from labelapp.models.prompts import Prompt

MAX_COMPLETIONS = 9
MAX_OVERLAP = 20


class Batch(models.Model):
    """A set of tasks made together, under one protocol."""

    class State(models.TextChoices):
        """What labelers see of it."""

        # Enters when created; its tasks are being made. Leaves by opening.
        DRAFT = "draft", "Draft"
        # Labelers are seated. Leaves by pausing or closing.
        OPEN = "open", "Open"
        # Nobody new is seated; held tasks may still be submitted. Leaves by opening or closing.
        PAUSED = "paused", "Paused"
        # Enters by an administrator's choice, or at once for imported labels. Final.
        CLOSED = "closed", "Closed"

    class Work(models.TextChoices):
        """What people do in it."""

        COMPARISON = "comparison", "Compare completions"
        DEMONSTRATION = "demonstration", "Write the ideal answer"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="batches")
    protocol = models.ForeignKey(Protocol, on_delete=models.PROTECT, related_name="batches")
    name = models.CharField(max_length=100)
    state = models.CharField(max_length=10, choices=State, default=State.DRAFT)
    work = models.CharField(max_length=13, choices=Work, default=Work.COMPARISON, db_default=Work.COMPARISON)
    k = models.PositiveSmallIntegerField(
        default=4, help_text="Completions per task at the most; says nothing where answers are written."
    )
    overlap = models.PositiveSmallIntegerField(default=1, help_text="Labels per task, each by another person.")
    shared_share = models.FloatField(default=0.15, help_text="Share of tasks that more people label.")
    shared_overlap = models.PositiveSmallIntegerField(default=3, help_text="Labels per task of that share.")
    priority = models.SmallIntegerField(default=0, help_text="Higher is served first.")
    deadline = models.DateField(null=True, blank=True)
    quota = models.PositiveIntegerField(
        null=True, blank=True, help_text="Labels that one person may give in it; empty for any number."
    )
    languages = ArrayField(models.CharField(max_length=20), default=list, blank=True)
    skills = ArrayField(models.CharField(max_length=50), default=list, blank=True)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, related_name="+")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["project", "name"], name="batch_name_once"),
            models.CheckConstraint(condition=Q(k__gte=1, k__lte=MAX_COMPLETIONS), name="batch_k"),
            models.CheckConstraint(condition=Q(overlap__gte=1, overlap__lte=MAX_OVERLAP), name="batch_overlap"),
            models.CheckConstraint(
                condition=Q(shared_share__gte=0, shared_share__lte=1)
                & Q(shared_overlap__gte=F("overlap"), shared_overlap__lte=MAX_OVERLAP),
                name="batch_shared",
            ),
            models.CheckConstraint(
                condition=Q(state__in=["draft", "open", "paused", "closed"]), name="batch_state_known"
            ),
            models.CheckConstraint(condition=Q(work__in=["comparison", "demonstration"]), name="batch_work_known"),
            models.CheckConstraint(condition=Q(quota__isnull=True) | Q(quota__gte=1), name="batch_quota"),
        ]

    def __str__(self) -> str:
        return self.name


class TaskPurpose(models.TextChoices):
    """Why the task exists. Production and evaluation have seats from the start, the others get them on demand."""

    PRODUCTION = "production", "Production"
    EVALUATION = "evaluation", "Evaluation"
    GOLD = "gold", "Gold"
    CALIBRATION = "calibration", "Calibration"
    SENTINEL = "sentinel", "Sentinel"
    SCREENING = "screening", "Screening"
    PRACTICE = "practice", "Practice"
    REPEAT = "repeat", "Repeat"
    ADJUDICATION = "adjudication", "Adjudication"


class ComparisonTask(models.Model):
    """One prompt with K completions, to be labelled under the batch's protocol."""

    Purpose = TaskPurpose

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="tasks")
    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="tasks")
    purpose = models.CharField(max_length=12, choices=Purpose, default=Purpose.PRODUCTION)
    repeat_of = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="repeats")
    overlap = models.PositiveSmallIntegerField(help_text="Labels wanted; 0 for tasks that came with their labels.")
    completions_key = models.CharField(max_length=64, help_text="SHA-256 of the completion ids, in ascending order.")
    selection_rule = models.CharField(max_length=50, help_text="How the task was chosen.")
    selection_probability = models.FloatField(help_text="With which probability that rule chose it.")
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["batch", "prompt", "completions_key", "purpose"],
                condition=Q(repeat_of__isnull=True),
                name="task_once_per_batch",
            ),
            models.CheckConstraint(
                condition=Q(selection_probability__gt=0, selection_probability__lte=1), name="task_probability"
            ),
            models.CheckConstraint(condition=Q(overlap__lte=MAX_OVERLAP), name="task_overlap"),
            models.CheckConstraint(condition=Q(purpose__in=TaskPurpose.values), name="task_purpose_known"),
            models.CheckConstraint(
                condition=Q(purpose="repeat", repeat_of__isnull=False)
                | ~Q(purpose="repeat") & Q(repeat_of__isnull=True),
                name="task_repeat_of",
            ),
        ]


class TaskCompletion(models.Model):
    """A completion's slot in a task. Identical texts share one slot, so nobody compares a text with itself."""

    task = models.ForeignKey(ComparisonTask, on_delete=models.CASCADE, related_name="task_completions", db_index=False)
    completion = models.ForeignKey(Completion, on_delete=models.PROTECT, related_name="task_completions")
    slot = models.PositiveSmallIntegerField()

    class Meta:
        ordering = ["slot", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["task", "completion"], name="task_completion_once"),
            models.CheckConstraint(condition=Q(slot__lt=MAX_COMPLETIONS), name="task_completion_slot"),
        ]


class Pool(models.Model):
    """Seats that the same people may take. Whoever qualifies for a pool qualifies for every seat in it."""

    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="pools")
    purpose = models.CharField(max_length=12, choices=TaskPurpose, default=TaskPurpose.PRODUCTION)
    language = models.CharField(max_length=20, blank=True)
    skills = ArrayField(models.CharField(max_length=50), default=list, blank=True)
    sensitivity = ArrayField(models.CharField(max_length=50), default=list, blank=True)
    boost = models.SmallIntegerField(default=0, help_text="Served before pools of the same batch with less.")
    head = models.BigIntegerField(
        default=0,
        db_default=0,
        help_text="No open seat stood before this position when it was last looked at; new people start here.",
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["batch", "purpose", "language", "skills", "sensitivity", "boost"], name="pool_once"
            ),
            models.CheckConstraint(condition=Q(purpose__in=TaskPurpose.values), name="pool_purpose_known"),
        ]


class Seat(models.Model):
    """A place for one counted annotation of a task. Narrow on purpose: the queue lives in its one partial index."""

    class State(models.TextChoices):
        """Who has the seat."""

        # Enters when made, or when a holder skips or lets the lease run out (with a new position), or when triage
        # lets the task go on. Leaves by a take, or when the task is withdrawn.
        OPEN = "open", "Open"
        # Kept two minutes for somebody who still works on the task before it. Leaves when it is shown, or runs out.
        RESERVED = "reserved", "Reserved"
        # One annotator holds it under a lease. Leaves by submit, skip or the lease's end.
        HELD = "held", "Held"
        # The task waits for triage, or its prompt is quarantined. Leaves when that is over.
        WITHDRAWN = "withdrawn", "Withdrawn"
        # Its annotation is in. Final.
        FILLED = "filled", "Filled"

    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="seats", db_index=False)
    task = models.ForeignKey(ComparisonTask, on_delete=models.CASCADE, related_name="seats")
    # Positions only grow, so a returned seat is ahead of every cursor again.
    position = models.BigIntegerField(db_default=Func(Value("labelapp_seat_position"), function="nextval"))
    state = models.CharField(max_length=9, choices=State, default=State.OPEN)
    annotator = models.ForeignKey(
        Annotator, on_delete=models.PROTECT, null=True, blank=True, related_name="seats", db_index=False
    )
    held_at = models.DateTimeField(null=True, blank=True)
    input_at = models.DateTimeField(null=True, blank=True, help_text="When the holder last did something.")
    lease_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["task", "annotator"], condition=Q(annotator__isnull=False), name="seat_person_once_per_task"
            ),
            models.UniqueConstraint(fields=["annotator"], condition=Q(state="held"), name="seat_one_held_per_person"),
            models.UniqueConstraint(
                fields=["annotator"], condition=Q(state="reserved"), name="seat_one_reserved_per_person"
            ),
            models.CheckConstraint(
                condition=Q(
                    state__in=["open", "withdrawn"],
                    annotator__isnull=True,
                    held_at__isnull=True,
                    lease_until__isnull=True,
                )
                | Q(state="reserved", annotator__isnull=False, held_at__isnull=True, lease_until__isnull=False)
                | Q(state="held", annotator__isnull=False, held_at__isnull=False, lease_until__isnull=False)
                | Q(state="filled", annotator__isnull=False, lease_until__isnull=True),
                name="seat_state_consistent",
            ),
        ]
        indexes = [
            models.Index(fields=["pool", "position"], condition=Q(state="open"), name="seat_queue"),
            models.Index(fields=["lease_until"], condition=Q(state__in=["held", "reserved"]), name="seat_leases"),
        ]


class SeatCursor(models.Model):
    """How far into a pool's queue one annotator has come: up to here hardly an open seat is for them.

    Hardly, since a seat may be locked by somebody at the moment when the cursor goes by, and numbers of a sequence do
    not become visible in their order. A rescan from the start finds those before anybody is told that nothing is left.
    """

    annotator = models.ForeignKey(Annotator, on_delete=models.CASCADE, related_name="+", db_index=False)
    pool = models.ForeignKey(Pool, on_delete=models.CASCADE, related_name="+", db_index=False)
    position = models.BigIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["annotator", "pool"], name="seat_cursor_once")]


class BatchTally(models.Model):
    """How many labels a person has given in a batch with a quota: what the seat query compares with the quota."""

    annotator = models.ForeignKey(Annotator, on_delete=models.CASCADE, related_name="+", db_index=False)
    batch = models.ForeignKey(Batch, on_delete=models.CASCADE, related_name="+")
    labels = models.PositiveIntegerField(default=0)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["annotator", "batch"], name="batch_tally_once")]


class TaskSkip(models.Model):
    """A person passed on a task; it never comes back to them."""

    class Reason(models.TextChoices):
        """Why."""

        UNCLEAR = "unclear", "The prompt is too unclear to judge"
        EXPERTISE = "expertise", "It needs knowledge I do not have"
        LANGUAGE = "language", "It is in a language I do not read well"
        DISTRESSING = "distressing", "The content is distressing"
        BROKEN = "broken", "Something on the page is broken"
        REPORTED = "reported", "I reported it"
        OTHER = "other", "Another reason"

    task = models.ForeignKey(ComparisonTask, on_delete=models.CASCADE, related_name="skips", db_index=False)
    annotator = models.ForeignKey(Annotator, on_delete=models.CASCADE, related_name="skips")
    reason = models.CharField(max_length=12, choices=Reason)
    note = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["task", "annotator"], name="task_skip_once"),
            models.CheckConstraint(
                condition=Q(
                    reason__in=["unclear", "expertise", "language", "distressing", "broken", "reported", "other"]
                ),
                name="task_skip_reason_known",
            ),
        ]


class Draft(models.Model):
    """Unsubmitted work of one person on one task. It outlives the seat."""

    annotator = models.ForeignKey(Annotator, on_delete=models.CASCADE, related_name="drafts", db_index=False)
    task = models.ForeignKey(ComparisonTask, on_delete=models.CASCADE, related_name="drafts")
    content = models.JSONField(default=dict)
    revision = models.PositiveBigIntegerField(default=0, help_text="Grows with each save; an older one is refused.")
    opened_at = models.DateTimeField(help_text="When the person first opened the task; bounds the time they claim.")
    saved_at = models.DateTimeField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["annotator", "task"], name="draft_once")]
