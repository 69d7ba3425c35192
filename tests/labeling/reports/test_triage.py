"""What reviewers make of reports."""

import pytest
from django.db import IntegrityError, transaction

from labelapp.errors import ConflictError
from labelapp.labeling.services.reports import report_close
from labelapp.labeling.services.seats import seat_take
from labelapp.models import (
    Annotator,
    AuditEntry,
    ComparisonTask,
    Project,
    Prompt,
    Report,
    Seat,
    TaskSkip,
    User,
)
from tests.factories import annotation_make, labeler_make
from tests.labeling.acts import states, take
from tests.labeling.reports.acts import crowd, report, skipped_by

State, Kind = Seat.State, Report.Kind
RELEASED, REMOVED = Report.State.RELEASED, Report.State.REMOVED


def test_a_released_prompt_leaves_quarantine_and_its_seats_come_back(
    annotator: Annotator, mia: Annotator, task: ComparisonTask, rita: User
) -> None:
    take(annotator)
    made = report(task, annotator, Kind.PERSONAL_DATA)
    last = Seat.objects.latest("position").position
    closed = report_close(report=made, state=RELEASED, actor=rita, answer="An invented name.")
    assert Prompt.objects.get(pk=task.prompt_id).quarantined_at is None
    assert (closed.state, closed.answer, closed.closed_by) == (RELEASED, "An invented name.", rita)
    assert closed.closed_at is not None
    assert states(position__gt=last) == ["open", "open"]
    assert take(mia).task_id == task.pk
    assert seat_take(annotator_id=annotator.pk) is None
    entry = AuditEntry.objects.get(verb="report_close")
    assert (entry.actor_id, entry.data) == (rita.pk, {"state": "released"})


def test_a_prompt_stays_in_quarantine_while_somebody_else_reports_it(
    annotator: Annotator, mia: Annotator, task: ComparisonTask, rita: User
) -> None:
    first, second = report(task, annotator, Kind.PERSONAL_DATA), report(task, mia, Kind.PERSONAL_DATA)
    report_close(report=first, state=RELEASED, actor=rita)
    assert Prompt.objects.get(pk=task.prompt_id).quarantined_at is not None
    assert states() == ["withdrawn", "withdrawn"]
    report_close(report=second, state=RELEASED, actor=rita)
    assert Prompt.objects.get(pk=task.prompt_id).quarantined_at is None
    assert states() == ["open", "open"]


def test_a_removed_prompt_stays_away_for_good(
    project: Project, annotator: Annotator, mia: Annotator, task: ComparisonTask, rita: User
) -> None:
    first, second = report(task, annotator, Kind.PERSONAL_DATA), report(task, mia, Kind.PERSONAL_DATA)
    report_close(report=first, state=REMOVED, actor=rita)
    report_close(report=second, state=RELEASED, actor=rita)
    assert Prompt.objects.get(pk=task.prompt_id).quarantined_at is not None
    assert states() == ["withdrawn", "withdrawn"]
    assert seat_take(annotator_id=labeler_make(project, "noa").pk) is None


def test_a_task_that_was_broken_can_be_removed(annotator: Annotator, task: ComparisonTask, rita: User) -> None:
    made = report(task, annotator, Kind.BROKEN)
    assert states() == ["open", "open"]
    report_close(report=made, state=REMOVED, actor=rita)
    assert states() == ["withdrawn", "withdrawn"]
    assert Prompt.objects.get(pk=task.prompt_id).quarantined_at is None


def test_releasing_one_report_keeps_what_another_withdrew(
    project: Project, annotator: Annotator, task: ComparisonTask, rita: User
) -> None:
    sensitive = report(task, annotator, Kind.SENSITIVE)
    skipped_by(task, *crowd(project, "mia", "noa", "ida"))
    report_close(report=sensitive, state=RELEASED, actor=rita)
    assert states() == ["withdrawn", "withdrawn"]
    report_close(report=Report.objects.get(kind=Kind.SKIPS), state=RELEASED, actor=rita)
    assert states() == ["open", "open"]


def test_what_proved_sensitive_is_seated_with_those_who_accept_it(
    project: Project, annotator: Annotator, mia: Annotator, task: ComparisonTask, rita: User
) -> None:
    made = report(task, annotator, Kind.SENSITIVE)
    report_close(report=made, state=RELEASED, actor=rita, sensitivity=["violence"])
    assert Prompt.objects.get(pk=task.prompt_id).sensitivity == ["violence"]
    assert states(pool__sensitivity=["violence"]) == ["open", "open"]
    assert seat_take(annotator_id=mia.pk) is None
    Annotator.objects.filter(pk=mia.pk).update(accepts_sensitive=["violence"])
    assert take(mia).task_id == task.pk


def test_who_works_on_what_proved_sensitive_and_did_not_accept_it_loses_it(
    annotator: Annotator, mia: Annotator, task: ComparisonTask, rita: User
) -> None:
    take(mia)
    made = report(task, annotator, Kind.SENSITIVE)
    assert states() == ["held", "withdrawn"]
    report_close(report=made, state=RELEASED, actor=rita, sensitivity=["hate"])
    assert states(pool__sensitivity=["hate"]) == ["open", "open"]


def test_closing_twice_alike_is_once_and_otherwise_refused(
    annotator: Annotator, task: ComparisonTask, rita: User
) -> None:
    made = report(task, annotator, Kind.BROKEN)
    first = report_close(report=made, state=RELEASED, actor=rita, answer="Mended.")
    again = report_close(report=made, state=RELEASED, actor=rita, answer="Other words.")
    assert (again.answer, again.closed_at) == ("Mended.", first.closed_at)
    with pytest.raises(ConflictError, match="closed already: goes on"):
        report_close(report=made, state=REMOVED, actor=rita)
    assert AuditEntry.objects.filter(verb="report_close").count() == 1


def test_after_a_decision_the_same_can_be_reported_anew(
    annotator: Annotator, mia: Annotator, task: ComparisonTask, rita: User
) -> None:
    made = report(task, annotator, Kind.PERSONAL_DATA)
    report_close(report=made, state=RELEASED, actor=rita)
    assert report(task, mia, Kind.PERSONAL_DATA).pk != made.pk
    assert states() == ["withdrawn", "withdrawn"]


def test_a_label_from_outside_is_no_seat(annotator: Annotator, task: ComparisonTask) -> None:
    annotation_make(task, annotator, surplus=True)
    report(task, annotator, Kind.SENSITIVE)
    assert not TaskSkip.objects.exists()
    assert states() == ["withdrawn", "withdrawn"]


def test_the_database_keeps_withdrawn_seats_nobodys(annotator: Annotator, task: ComparisonTask) -> None:
    with pytest.raises(IntegrityError, match="seat_state_consistent"), transaction.atomic():
        Seat.objects.update(state=State.WITHDRAWN, annotator=annotator)
