"""Every table, one file per noun group. What must always hold is a constraint here or a trigger in the migrations."""

from labelapp.models.annotations import Annotation, Demonstration, Rating
from labelapp.models.audit import AuditEntry
from labelapp.models.files import Artifact
from labelapp.models.generation import Completion, ModelVersion
from labelapp.models.jobs import Job
from labelapp.models.people import Annotator, Invitation, Membership, Role, User
from labelapp.models.projects import Project, Protocol, Question
from labelapp.models.prompts import Prompt
from labelapp.models.tasks import (
    Batch,
    ComparisonTask,
    Draft,
    Pool,
    Seat,
    SeatCursor,
    TaskCompletion,
    TaskSkip,
)

__all__ = [
    "Annotation",
    "Annotator",
    "Artifact",
    "AuditEntry",
    "Batch",
    "ComparisonTask",
    "Completion",
    "Demonstration",
    "Draft",
    "Invitation",
    "Job",
    "Membership",
    "ModelVersion",
    "Pool",
    "Project",
    "Prompt",
    "Protocol",
    "Question",
    "Rating",
    "Role",
    "Seat",
    "SeatCursor",
    "TaskCompletion",
    "TaskSkip",
    "User",
]
