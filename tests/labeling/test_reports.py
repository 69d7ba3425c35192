"""What people report about tasks, what follows at once, and what reviewers make of it."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils import timezone

from labelapp.errors import ConflictError, DomainError
from labelapp.labeling.judgement import Judgement
from labelapp.labeling.seating import seating_new
from labelapp.labeling.services.annotations import Effort, annotation_submit, draft_save
from labelapp.labeling.services.pools import pool_for
from labelapp.labeling.services.reports import report_close, report_make
from labelapp.labeling.services.seats import seat_reserve, seat_show, seat_take, seats_expire, seats_return, task_skip
from labelapp.models import (
    Annotation,
    Annotator,
    AuditEntry,
    Batch,
    ComparisonTask,
    Draft,
    Pool,
    Project,
    Prompt,
    Protocol,
    Report,
    Seat,
    TaskSkip,
    TimeEntry,
    User,
)
from tests.factories import annotation_make, batch_with_tasks, external_make, labeler_make

State, Kind = Seat.State, Report.Kind
RELEASED, REMOVED = Report.State.RELEASED, Report.State.REMOVED


@pytest.fixture
def batch(project: Project, protocol: Protocol) -> Batch:
    return batch_with_tasks(project, protocol, tasks=1, overlap=2, shared_overlap=2)


@pytest.fixture
def task(batch: Batch) -> ComparisonTask:
    return batch.tasks.get()


@pytest.fixture
def mia(project: Project) -> Annotator:
    return labeler_make(project, "mia")


def report(task: ComparisonTask, annotator: Annotator, kind: Report.Kind, **said: Any) -> Report:
    return report_make(annotator_id=annotator.pk, task=task, kind=kind, **said)


def take(annotator: Annotator) -> Seat:
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    return seat


def states(**which: Any) -> list[str]:
    return sorted(Seat.objects.filter(**which).values_list("state", flat=True))


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


# Personal data


def test_personal_data_puts_the_prompt_in_quarantine_at_once(
    annotator: Annotator, mia: Annotator, task: ComparisonTask
) -> None:
    take(annotator)
    before = timezone.now()
    made = report(task, annotator, Kind.PERSONAL_DATA, note="  Her address. ")
    prompt = Prompt.objects.get(pk=task.prompt_id)
    assert prompt.quarantined_at is not None
    assert prompt.quarantined_at >= before
    assert (made.state, made.note, made.annotator) == (Report.State.OPEN, "Her address.", annotator)
    assert states() == ["withdrawn", "withdrawn"]
    assert seat_take(annotator_id=mia.pk) is None
    assert TaskSkip.objects.get().reason == TaskSkip.Reason.REPORTED
    assert AuditEntry.objects.filter(verb="prompt_quarantine", object_id=prompt.pk).count() == 1


def test_personal_data_takes_the_prompt_from_everybody_in_every_batch(
    annotator: Annotator, mia: Annotator, project: Project, protocol: Protocol, task: ComparisonTask
) -> None:
    other = Batch.objects.create(project=project, protocol=protocol, name="Again", state="open", priority=9)
    twin = ComparisonTask.objects.create(
        batch=other, prompt=task.prompt, overlap=1, completions_key="", selection_rule="all", selection_probability=1
    )
    pool = pool_for(batch_id=other.pk, prompt=task.prompt, skills=[])
    Seat.objects.create(task=twin, pool=pool)
    assert take(mia).task_id == twin.pk
    assert seat_reserve(annotator_id=mia.pk) is not None
    report(task, annotator, Kind.PERSONAL_DATA)
    assert states() == ["withdrawn"] * 3
    assert not Seat.objects.exclude(annotator=None).exists()


def test_other_prompts_go_on(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=3)
    seat = take(annotator)
    report(seat.task, annotator, Kind.PERSONAL_DATA)
    assert states() == ["open", "open", "withdrawn"]
    assert take(annotator).task_id != seat.task_id


def test_who_was_at_work_keeps_their_draft_and_what_they_submit_is_surplus(
    annotator: Annotator, mia: Annotator, task: ComparisonTask, protocol: Protocol
) -> None:
    seat = take(mia)
    seating = seating_new(task_id=task.pk, annotator_id=mia.pk, seat=seat, draft=None)
    draft_save(seating=seating, content={"ranking": "A B"}, revision=1)
    report(task, annotator, Kind.PERSONAL_DATA)
    assert Draft.objects.get(annotator=mia).content == {"ranking": "A B"}
    made = submit(seat, mia, protocol)
    assert (made.surplus, made.seat) == (True, None)
    assert states() == ["withdrawn", "withdrawn"]


def test_what_was_labelled_before_stays_filled(annotator: Annotator, task: ComparisonTask, protocol: Protocol) -> None:
    submit(take(annotator), annotator, protocol)
    report(task, annotator, Kind.PERSONAL_DATA)
    assert states() == ["filled", "withdrawn"]
    assert not TaskSkip.objects.exists()


def test_a_reserved_task_is_lost_with_its_prompt(
    annotator: Annotator, mia: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=2)
    held = take(mia)
    ahead = seat_reserve(annotator_id=mia.pk)
    assert ahead is not None
    report(ahead.task, annotator, Kind.PERSONAL_DATA)
    submit(held, mia, protocol)
    assert seat_show(annotator_id=mia.pk, task_id=ahead.task_id) is None
    assert seat_take(annotator_id=mia.pk) is None


# Needs an expert


def test_a_task_for_experts_goes_to_those_with_the_skill(
    annotator: Annotator, mia: Annotator, task: ComparisonTask
) -> None:
    take(annotator)
    report(task, annotator, Kind.NEEDS_EXPERT, skill=" Law ")
    assert states() == ["open", "open"]
    assert {tuple(seat.pool.skills) for seat in Seat.objects.all()} == {("law",)}
    assert seat_take(annotator_id=mia.pk) is None
    Annotator.objects.update(skills=["law"])
    assert take(mia).task_id == task.pk
    assert seat_take(annotator_id=annotator.pk) is None
    assert Report.objects.get().skill == "law"


def test_an_expert_who_says_so_keeps_the_task(annotator: Annotator, task: ComparisonTask) -> None:
    Annotator.objects.filter(pk=annotator.pk).update(skills=["law"])
    seat = take(annotator)
    report(task, annotator, Kind.NEEDS_EXPERT, skill="law")
    kept = Seat.objects.get(pk=seat.pk)
    assert (kept.state, kept.annotator, kept.pool.skills) == (State.HELD, annotator, ["law"])
    assert not TaskSkip.objects.exists()
    assert {tuple(each.pool.skills) for each in Seat.objects.all()} == {("law",)}


def test_what_the_task_asked_for_before_stays_asked_for(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    Annotator.objects.update(skills=["german"])
    batch_with_tasks(project, protocol, tasks=1, skills=["german"])
    Pool.objects.update(boost=2)
    report(take(annotator).task, annotator, Kind.NEEDS_EXPERT, skill="law")
    pool = Seat.objects.get().pool
    assert (pool.skills, pool.boost) == (["german", "law"], 2)


def test_others_at_work_on_it_finish(
    annotator: Annotator, mia: Annotator, task: ComparisonTask, protocol: Protocol
) -> None:
    seat = take(mia)
    take(annotator)
    report(task, annotator, Kind.NEEDS_EXPERT, skill="law")
    assert not submit(seat, mia, protocol).surplus


def test_a_reservation_of_it_goes_to_an_expert(
    annotator: Annotator, mia: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=2)
    take(mia)
    ahead = seat_reserve(annotator_id=mia.pk)
    assert ahead is not None
    report(ahead.task, annotator, Kind.NEEDS_EXPERT, skill="law")
    back = Seat.objects.get(pk=ahead.pk)
    assert (back.state, back.annotator, back.pool.skills) == (State.OPEN, None, ["law"])


def test_an_expert_without_a_skill_is_refused(annotator: Annotator, task: ComparisonTask) -> None:
    with pytest.raises(DomainError, match="what an expert"):
        report(task, annotator, Kind.NEEDS_EXPERT, skill="  ")
    assert not Report.objects.exists()


# Sensitive, broken, other


def test_what_may_be_sensitive_waits_for_triage(annotator: Annotator, mia: Annotator, task: ComparisonTask) -> None:
    take(annotator)
    report(task, annotator, Kind.SENSITIVE, note="Violence")
    assert states() == ["withdrawn", "withdrawn"]
    assert seat_take(annotator_id=mia.pk) is None
    assert Prompt.objects.get(pk=task.prompt_id).quarantined_at is None


@pytest.mark.parametrize("kind", [Kind.BROKEN, Kind.OTHER])
def test_the_rest_is_noted_and_the_seat_stays(annotator: Annotator, task: ComparisonTask, kind: Report.Kind) -> None:
    seat = take(annotator)
    report(task, annotator, kind, note="The picture is missing.")
    assert Seat.objects.get(pk=seat.pk).state == State.HELD
    assert states() == ["held", "open"]
    assert not TaskSkip.objects.exists()


def test_skips_are_not_reported_by_hand(annotator: Annotator, task: ComparisonTask) -> None:
    with pytest.raises(DomainError, match="by themselves"):
        report(task, annotator, Kind.SKIPS)


def test_a_report_made_twice_is_one(annotator: Annotator, mia: Annotator, task: ComparisonTask) -> None:
    first = report(task, annotator, Kind.BROKEN, note="First")
    assert report(task, annotator, Kind.BROKEN, note="Second").pk == first.pk
    assert report(task, mia, Kind.BROKEN).pk != first.pk
    assert report(task, annotator, Kind.OTHER).pk != first.pk


def test_the_time_of_a_task_taken_away_is_paid(annotator: Annotator, task: ComparisonTask) -> None:
    take(annotator)
    Seat.objects.filter(state=State.HELD).update(held_at=timezone.now() - timedelta(seconds=90))
    report(task, annotator, Kind.PERSONAL_DATA)
    entry = TimeEntry.objects.get()
    assert (entry.kind, entry.task, entry.annotator) == (TimeEntry.Kind.SKIPPED, task, annotator)
    assert 90 <= entry.seconds <= 95


# Skips


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


# Triage


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
