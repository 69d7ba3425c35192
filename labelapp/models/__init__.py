"""Every table, one file per noun group. What must always hold is a constraint here or a trigger in the migrations."""

from labelapp.models.annotations import Annotation, Demonstration, Marks, Rating
from labelapp.models.audit import AuditEntry
from labelapp.models.care import (
    Exposure,
    GuidelineExample,
    GuidelineVisit,
    Inquiry,
    PracticeExample,
    Report,
    TimeDispute,
    TimeEntry,
)
from labelapp.models.files import Artifact
from labelapp.models.generation import Completion, ModelVersion
from labelapp.models.jobs import Job
from labelapp.models.people import Annotator, Invitation, Membership, Role, User
from labelapp.models.projects import Project, Protocol, Question
from labelapp.models.prompts import Prompt
from labelapp.models.rounds import Round
from labelapp.models.snapshots import AnnotatorKey, Snapshot
from labelapp.models.tasks import (
    Batch,
    BatchTally,
    ComparisonTask,
    Draft,
    Pool,
    Seat,
    SeatCursor,
    TaskCompletion,
    TaskSkip,
)
from labelapp.models.training import CompletionScore, Run, RunEvent, RunKind, RunMember

__all__ = [
    "Annotation",
    "Annotator",
    "AnnotatorKey",
    "Artifact",
    "AuditEntry",
    "Batch",
    "BatchTally",
    "ComparisonTask",
    "Completion",
    "CompletionScore",
    "Demonstration",
    "Draft",
    "Exposure",
    "GuidelineExample",
    "GuidelineVisit",
    "Inquiry",
    "Invitation",
    "Job",
    "Marks",
    "Membership",
    "ModelVersion",
    "Pool",
    "PracticeExample",
    "Project",
    "Prompt",
    "Protocol",
    "Question",
    "Rating",
    "Report",
    "Role",
    "Round",
    "Run",
    "RunEvent",
    "RunKind",
    "RunMember",
    "Seat",
    "SeatCursor",
    "Snapshot",
    "TaskCompletion",
    "TaskSkip",
    "TimeDispute",
    "TimeEntry",
    "User",
]
