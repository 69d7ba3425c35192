"""Ideal answers: stored once, in a seat or as surplus, and corrected while that is possible."""

from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from labelapp.errors import ConflictError
from labelapp.labeling.services.annotations import Effort, Seating, draft_save
from labelapp.labeling.services.seats import seat_take, seats_expire, task_skip
from labelapp.models import (
    Annotator,
    Artifact,
    Batch,
    BatchTally,
    Demonstration,
    Draft,
    Project,
    Protocol,
    Seat,
    Snapshot,
    TaskSkip,
)
from labelapp.writing.answers import Answer, Pasted
from labelapp.writing.services import demonstration_correct, demonstration_submit
from tests.datasets.freezing import annotation_age
from tests.factories import batch_to_write, labeler_make
from tests.writing.conftest import Seated

WINTER = Answer("In late winter.", Pasted(0.25, 300, "My notes"))
EFFORT = Effort(active_seconds=60, paid_seconds=90)


def submit(seating: Seating, text: str = "In late winter.") -> Demonstration:
    return demonstration_submit(seating=seating, answer=replace(WINTER, text=text), effort=EFFORT)


def correct(seating: Seating, text: str) -> Demonstration:
    again = replace(seating, key=uuid4())
    return demonstration_correct(seating=again, answer=Answer(text), effort=EFFORT)


def test_an_answer_fills_its_seat(annotator: Annotator, seated: Seated) -> None:
    seating = seated(annotator)
    draft_save(seating=seating, content={"answer": "In"}, revision=1)
    made = submit(seating)
    seat = Seat.objects.get(task=seating.task_id)
    assert (seat.state, seat.annotator_id, made.seat_id) == ("filled", annotator.pk, seat.pk)
    assert (made.text, made.surplus, made.prompt_id) == ("In late winter.", False, seat.task.prompt_id)
    assert (made.pasted_share, made.pasted_source) == (0.25, "My notes")
    assert (made.active_seconds, made.paid_seconds) == (60, 90)
    assert not Draft.objects.exists()


def test_the_same_slip_stores_once(annotator: Annotator, seated: Seated) -> None:
    seating = seated(annotator)
    assert submit(seating) == submit(seating, "Something else that was typed meanwhile.")
    assert Demonstration.objects.count() == 1


def test_another_slip_of_the_same_task_is_refused(annotator: Annotator, seated: Seated) -> None:
    seating = seated(annotator)
    submit(seating)
    with pytest.raises(ConflictError, match="already answered"):
        submit(replace(seating, key=uuid4()), "Another.")


def test_no_draft_comes_after_the_answer(annotator: Annotator, seated: Seated) -> None:
    seating = seated(annotator)
    submit(seating)
    with pytest.raises(ConflictError):
        draft_save(seating=seating, content={"answer": "late"}, revision=9)
    assert not Draft.objects.exists()


def test_an_answer_after_the_seat_is_gone_is_surplus(project: Project, annotator: Annotator, seated: Seated) -> None:
    seating = seated(annotator)
    Seat.objects.filter(task=seating.task_id).update(lease_until=timezone.now() - timedelta(minutes=1))
    seats_expire()
    other = labeler_make(project, "mia")
    # The seat went to the end of the queue: the other one comes first.
    while (other_seat := seated(other)).task_id != seating.task_id:
        submit(other_seat, "First.")
    submit(other_seat, "Second.")
    made = submit(seating)
    assert (made.surplus, made.seat_id) == (True, None)
    assert Seat.objects.get(task=seating.task_id).annotator_id == other.pk


def test_nobody_gets_a_task_that_they_answered(annotator: Annotator, batch: Batch, seated: Seated) -> None:
    first = seated(annotator)
    submit(first)
    second = seated(annotator)
    assert second.task_id != first.task_id
    submit(second)
    assert seat_take(annotator_id=annotator.pk, work=Batch.Work.DEMONSTRATION) is None


def test_who_skipped_in_another_tab_did_answer(annotator: Annotator, seated: Seated) -> None:
    seating = seated(annotator)
    task = Seat.objects.get(annotator=annotator).task
    task_skip(annotator_id=annotator.pk, task=task, reason=TaskSkip.Reason.OTHER)
    assert not submit(seating).surplus
    assert not TaskSkip.objects.exists()


def test_a_quota_counts_answers(project: Project, protocol: Protocol, annotator: Annotator, seated: Seated) -> None:
    Batch.objects.all().delete()
    batch = batch_to_write(project, protocol, tasks=3, quota=1, name="Few each")
    submit(seated(annotator))
    assert BatchTally.objects.get(annotator=annotator, batch=batch).labels == 1
    assert seat_take(annotator_id=annotator.pk, work=Batch.Work.DEMONSTRATION) is None


def test_seconds_are_no_more_than_have_passed(annotator: Annotator, seated: Seated) -> None:
    made = demonstration_submit(seating=seated(annotator), answer=WINTER, effort=Effort(9999, 9999))
    assert made.paid_seconds is not None
    assert 600 <= made.paid_seconds <= 605


def test_a_correction_takes_the_place_of_what_stands(annotator: Annotator, seated: Seated) -> None:
    seating = seated(annotator)
    first = submit(seating)
    second = correct(seating, "In late winter, above a bud.")
    third = correct(seating, "In late winter, above an outer bud.")
    assert [second.supersedes_id, third.supersedes_id] == [first.pk, second.pk]
    assert {made.seat_id for made in (first, second, third)} == {first.seat_id}
    assert Seat.objects.filter(state=Seat.State.FILLED).count() == 1


def test_the_same_words_again_correct_nothing(annotator: Annotator, seated: Seated) -> None:
    seating = seated(annotator)
    first = submit(seating)
    assert correct(seating, first.text) == first
    second = correct(seating, "Above a bud.")
    assert (
        demonstration_correct(
            seating=replace(seating, key=second.idempotency_key), answer=Answer("New words"), effort=EFFORT
        )
        == second
    )
    with pytest.raises(ConflictError, match="very answer"):
        correct(seating, first.text)


def test_after_a_day_it_stands(annotator: Annotator, seated: Seated) -> None:
    seating = seated(annotator)
    annotation_age(submit(seating), 23.9)
    fixed = correct(seating, "Above a bud.")
    annotation_age(fixed.supersedes, 24.1)  # type: ignore[arg-type]
    with pytest.raises(ConflictError, match="no longer be changed"):
        correct(seating, "Above an outer bud.")


@pytest.mark.parametrize(
    ("options", "is_frozen"),
    [({"settled_hours": 0.0}, True), ({"settled_hours": 24.0}, False), ({"demonstrations": False}, False)],
)
def test_what_a_snapshot_may_hold_stands(
    project: Project, annotator: Annotator, seated: Seated, options: dict[str, object], is_frozen: bool
) -> None:
    seating = seated(annotator)
    annotation_age(submit(seating), 2)
    folder = Artifact.objects.create(
        project=project, kind="snapshot", sha256="0" * 64, name="s", size=0, is_folder=True
    )
    Snapshot.objects.create(
        project=project, digest="0" * 64, folder=folder, as_of=timezone.now(), options=options, counts={}
    )
    if is_frozen:
        with pytest.raises(ConflictError, match="no longer be changed"):
            correct(seating, "Above a bud.")
    else:
        assert correct(seating, "Above a bud.").supersedes_id


def test_nobody_corrects_what_they_did_not_write(project: Project, annotator: Annotator, seated: Seated) -> None:
    seating = seated(annotator)
    submit(seating)
    with pytest.raises(ConflictError, match="no answer of yours"):
        correct(replace(seating, annotator_id=labeler_make(project, "mia").pk), "Mine now.")


def test_the_correction_of_surplus_is_surplus(project: Project, annotator: Annotator, seated: Seated) -> None:
    seating = seated(annotator)
    other = labeler_make(project, "mia")
    Seat.objects.filter(task=seating.task_id).update(annotator=other)
    submit(replace(seating, annotator_id=other.pk, key=uuid4()))
    assert submit(seating, "Mine.").surplus
    assert correct(seating, "Mine, better.").surplus
