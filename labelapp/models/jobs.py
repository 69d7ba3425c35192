"""Long work. The row, not the broker, is the truth about it."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from labelapp.models.projects import Project


class Job(models.Model):
    """One piece of long work, claimed by a worker through a conditional update and fenced by its attempt number."""

    class State(models.TextChoices):
        """Where the work stands."""

        # Enters when created, or when the reaper finds its worker dead. Leaves by a worker's claim or a cancel.
        QUEUED = "queued", "Waiting"
        # Enters by a claim, which counts an attempt. Leaves when the handler ends, or back to queued by the reaper.
        RUNNING = "running", "Running"
        # The handler returned. Final.
        SUCCEEDED = "succeeded", "Done"
        # The handler raised, or its worker died in every allowed attempt. Final.
        FAILED = "failed", "Failed"
        # Somebody asked to stop, and it stopped. Final.
        CANCELLED = "cancelled", "Cancelled"

    class Queue(models.TextChoices):
        """Which workers take it."""

        SHORT = "short", "Short"
        COMPUTE = "compute", "Compute"

    project = models.ForeignKey(Project, on_delete=models.CASCADE, related_name="jobs")
    kind = models.CharField(max_length=30)
    title = models.CharField(max_length=200)
    queue = models.CharField(max_length=10, choices=Queue, default=Queue.SHORT)
    state = models.CharField(max_length=10, choices=State, default=State.QUEUED)
    payload = models.JSONField(default=dict, blank=True, help_text="What to do: ids and options.")
    cursor = models.JSONField(default=dict, blank=True, help_text="How far it came; saved with the rows it covers.")
    result = models.JSONField(default=dict, blank=True)
    done = models.BigIntegerField(default=0)
    total = models.BigIntegerField(null=True, blank=True)
    message = models.CharField(max_length=300, blank=True)
    error = models.TextField(blank=True)
    attempt = models.PositiveIntegerField(default=0, help_text="Fencing number: counts claims.")
    max_attempts = models.PositiveSmallIntegerField(default=5)
    heartbeat_at = models.DateTimeField(null=True, blank=True)
    cancel_requested = models.BooleanField(default=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.SET_NULL, null=True, blank=True, related_name="+"
    )
    created_at = models.DateTimeField(auto_now_add=True)
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["queued", "running", "succeeded", "failed", "cancelled"]),
                name="job_state_known",
            ),
            models.CheckConstraint(condition=Q(queue__in=["short", "compute"]), name="job_queue_known"),
            models.CheckConstraint(
                condition=Q(state__in=["queued", "running"]) ^ Q(finished_at__isnull=False), name="job_finished_when"
            ),
            models.CheckConstraint(
                condition=~Q(state="running") | Q(heartbeat_at__isnull=False), name="job_running_beats"
            ),
        ]
        indexes = [
            models.Index(fields=["heartbeat_at"], condition=Q(state="running"), name="job_running"),
            models.Index(fields=["created_at"], condition=Q(state="queued"), name="job_queued"),
            models.Index(fields=["project", "-created_at"], name="job_project"),
        ]

    @property
    def is_finished(self) -> bool:
        """Whether the work has ended, well or badly."""
        return self.state not in {Job.State.QUEUED, Job.State.RUNNING}
