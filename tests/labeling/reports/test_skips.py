"""A skipped task: whose time is paid, and when reviewers look at it."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from labelapp.labeling.services.reports import report_close
from labelapp.labeling.services.seats import seats_expire, seats_return, task_skip
from labelapp.models import (
    Annotator,
    Batch,
    ComparisonTask,
    Draft,
    Project,
    Protocol,
    Report,
    Seat,
    TaskSkip,
    TimeEntry,
    User,
)
from tests.factories import external_make
from tests.labeling.acts import states, take
from tests.labeling.reports.acts import crowd, skipped_by, submit

State, Kind = Seat.State, Report.Kind
RELEASED = Report.State.RELEASED


@pytest.mark.parametrize(("counted", "paid"), [(None, range(90, 95)), (30, [30]), (10_000, range(90, 95)), (-5, [0])])
def test_the_time_of_a_skipped_task_is_paid_as_far_as_it_passed(
    annotator: Annotator, task: ComparisonTask, counted: int | None, paid: Any
) -> None:
    take(annotator)
    Seat.objects.filter(state=State.HELD).update(held_at=timezone.now() - timedelta(seconds=90))
    for _ in range(2):
        task_skip(annotator_id=annotator.pk, task=task, reason=TaskSkip.Reason.UNCLEAR, paid_seconds=counted)
    assert TimeEntry.objects.get().seconds in paid


def test_idle_time_before_a_skip_is_paid_for_ten_minutes(annotator: Annotator, task: ComparisonTask) -> None:
    take(annotator)
    ago = timezone.now() - timedelta(hours=2)
    Seat.objects.filter(state=State.HELD).update(held_at=ago, input_at=ago + timedelta(minutes=1))
    task_skip(annotator_id=annotator.pk, task=task, reason=TaskSkip.Reason.UNCLEAR)
    assert TimeEntry.objects.get().seconds == 11 * 60 + 1


def test_work_on_a_task_whose_seat_was_lost_is_paid_too(annotator: Annotator, task: ComparisonTask) -> None:
    ago = timezone.now() - timedelta(seconds=80)
    Draft.objects.create(annotator=annotator, task=task, opened_at=ago, saved_at=ago)
    task_skip(annotator_id=annotator.pk, task=task, reason=TaskSkip.Reason.UNCLEAR, paid_seconds=60)
    assert TimeEntry.objects.get().seconds == 60


def test_a_task_that_was_never_begun_is_not_paid(annotator: Annotator, task: ComparisonTask) -> None:
    task_skip(annotator_id=annotator.pk, task=task, reason=TaskSkip.Reason.UNCLEAR, paid_seconds=100)
    assert not TimeEntry.objects.exists()


def test_three_people_who_skip_put_a_task_before_reviewers(
    project: Project, annotator: Annotator, task: ComparisonTask
) -> None:
    people = [annotator, *crowd(project, "mia", "noa")]
    skipped_by(task, *people[:2])
    assert not Report.objects.exists()
    assert states() == ["open", "open"]
    skipped_by(task, people[2], reason="distressing")
    made = Report.objects.get()
    assert (made.kind, made.annotator, made.task) == (Kind.SKIPS, None, task)
    assert states() == ["withdrawn", "withdrawn"]


def test_one_person_who_skips_again_and_again_is_one_person(annotator: Annotator, task: ComparisonTask) -> None:
    skipped_by(task, *[annotator] * 5)
    assert not Report.objects.exists()


def test_only_people_are_counted(project: Project, annotator: Annotator, mia: Annotator, task: ComparisonTask) -> None:
    skipped_by(task, annotator, mia, external_make(project))
    assert not Report.objects.exists()


def test_a_fourth_skip_makes_no_second_report(project: Project, annotator: Annotator, task: ComparisonTask) -> None:
    skipped_by(task, annotator, *crowd(project, "mia", "noa", "ida"))
    assert Report.objects.count() == 1


def test_after_triage_three_more_have_to_skip(
    project: Project, annotator: Annotator, task: ComparisonTask, rita: User
) -> None:
    people = [annotator, *crowd(project, "mia", "noa", "ida", "eva", "uma")]
    skipped_by(task, *people[:3])
    report_close(report=Report.objects.get(), state=RELEASED, actor=rita)
    assert states() == ["open", "open"]
    skipped_by(task, *people[3:5])
    assert states() == ["open", "open"]
    skipped_by(task, people[5])
    assert Report.objects.filter(state=Report.State.OPEN, kind=Kind.SKIPS).count() == 1
    assert states() == ["withdrawn", "withdrawn"]


def test_who_is_at_work_finishes_while_it_waits_for_triage(
    project: Project, annotator: Annotator, mia: Annotator, task: ComparisonTask, protocol: Protocol
) -> None:
    seat = take(mia)
    skipped_by(task, annotator, *crowd(project, "noa", "ida"))
    assert states() == ["held", "withdrawn"]
    assert not submit(seat, mia, protocol).surplus


@pytest.mark.parametrize("way", ["expiry", "return", "skip"])
def test_a_seat_given_back_in_triage_waits_too(
    project: Project, batch: Batch, annotator: Annotator, mia: Annotator, task: ComparisonTask, way: str
) -> None:
    take(mia)
    skipped_by(task, annotator, *crowd(project, "noa", "ida"))
    if way == "expiry":
        Seat.objects.filter(state=State.HELD).update(lease_until=timezone.now() - timedelta(seconds=1))
        seats_expire()
    elif way == "return":
        assert mia.user is not None
        seats_return(user=mia.user, batch=batch)
    else:
        skipped_by(task, mia)
    assert states() == ["withdrawn", "withdrawn"]
