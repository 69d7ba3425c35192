"""What people do in the tests of reports."""

from typing import Any

from labelapp.labeling.judgement import Judgement
from labelapp.labeling.seating import seating_new
from labelapp.labeling.services.annotations import Effort, annotation_submit
from labelapp.labeling.services.reports import report_make
from labelapp.labeling.services.seats import task_skip
from labelapp.models import (
    Annotation,
    Annotator,
    ComparisonTask,
    Project,
    Protocol,
    Report,
    Seat,
    TaskSkip,
)
from tests.factories import labeler_make


def report(task: ComparisonTask, annotator: Annotator, kind: Report.Kind, **said: Any) -> Report:
    return report_make(annotator_id=annotator.pk, task=task, kind=kind, **said)


def submit(seat: Seat, annotator: Annotator, protocol: Protocol) -> Annotation:
    seating = seating_new(task_id=seat.task_id, annotator_id=annotator.pk, seat=seat, draft=None)
    judgement = Judgement(tiers=[[0], [1], [2], [3]], first_tiers=None, edges=[], ratings={}, answers={},
                          confidence=None, rationale="")  # fmt: skip
    return annotation_submit(
        seating=seating, judgement=judgement, protocol=protocol, order_shown=[0, 1, 2, 3], effort=Effort(None, None)
    )


def skipped_by(task: ComparisonTask, *people: Annotator, reason: str = "unclear") -> None:
    for person in people:
        task_skip(annotator_id=person.pk, task=task, reason=TaskSkip.Reason(reason))


def crowd(project: Project, *names: str) -> list[Annotator]:
    return [labeler_make(project, name) for name in names]
