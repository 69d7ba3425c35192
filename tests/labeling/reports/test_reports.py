"""What people report about tasks, and what follows at once."""

from datetime import timedelta

import pytest
from django.utils import timezone

from labelapp.errors import DomainError
from labelapp.labeling.seating import seating_new
from labelapp.labeling.services.annotations import draft_save
from labelapp.labeling.services.pools import pool_for
from labelapp.labeling.services.seats import seat_reserve, seat_show, seat_take
from labelapp.models import (
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
)
from tests.factories import batch_with_tasks
from tests.labeling.acts import states, take
from tests.labeling.reports.acts import report, submit

State, Kind = Seat.State, Report.Kind


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
