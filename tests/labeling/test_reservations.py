"""The next task is kept for somebody who still works on the one before it."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from labelapp.labeling.services.pools import seats_rehome
from labelapp.labeling.services.seats import (
    RESERVATION,
    seat_heartbeat,
    seat_reserve,
    seat_show,
    seat_take,
    seat_transition,
    seats_expire,
    seats_return,
    tally_count,
    task_skip,
)
from labelapp.models import Annotator, Batch, BatchTally, Pool, Project, Prompt, Protocol, Seat, TaskSkip
from tests.factories import batch_with_tasks, labeler_make
from tests.labeling.acts import reserve, states, take

State = Seat.State


@pytest.fixture
def batch(project: Project, protocol: Protocol) -> Batch:
    return batch_with_tasks(project, protocol, tasks=4)


def fill(seat: Seat) -> None:
    """What submitting does to the queue, without the annotation's content."""
    assert seat_transition(Seat.objects.filter(pk=seat.pk), State.FILLED, lease_until=None) == 1


def run_out() -> None:
    Seat.objects.exclude(lease_until=None).update(lease_until=timezone.now() - timedelta(seconds=1))


def test_the_next_task_is_kept_for_two_minutes(annotator: Annotator, batch: Batch) -> None:
    held, before = take(annotator), timezone.now()
    ahead = reserve(annotator)
    assert (ahead.state, ahead.annotator_id, ahead.held_at) == (State.RESERVED, annotator.pk, None)
    assert ahead.task_id != held.task_id
    assert ahead.lease_until is not None
    assert before + RESERVATION <= ahead.lease_until <= timezone.now() + RESERVATION
    stored = Seat.objects.get(pk=ahead.pk)
    assert (stored.state, stored.lease_until) == (ahead.state, ahead.lease_until)


def test_nothing_is_kept_for_who_holds_nothing(annotator: Annotator, batch: Batch) -> None:
    assert seat_reserve(annotator_id=annotator.pk) is None
    assert states() == ["open"] * 4


def test_asking_again_renews_the_same_reservation(annotator: Annotator, batch: Batch) -> None:
    take(annotator)
    first = reserve(annotator)
    Seat.objects.filter(pk=first.pk).update(lease_until=timezone.now() + timedelta(seconds=3))
    again = reserve(annotator)
    assert again.pk == first.pk
    assert Seat.objects.get(pk=first.pk).lease_until == again.lease_until
    assert again.lease_until is not None
    assert again.lease_until > timezone.now() + timedelta(seconds=100)


def test_nothing_is_kept_when_nothing_is_left(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    take(annotator)
    assert seat_reserve(annotator_id=annotator.pk) is None


def test_the_same_task_is_never_kept_beside_itself(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    """Of a task with three seats a person gets one."""
    batch_with_tasks(project, protocol, tasks=1, overlap=3, shared_overlap=3)
    take(annotator)
    assert seat_reserve(annotator_id=annotator.pk) is None


def test_the_clock_of_a_reserved_task_starts_when_it_is_shown(annotator: Annotator, batch: Batch) -> None:
    held = take(annotator)
    ahead = reserve(annotator)
    fill(held)
    before = timezone.now()
    shown = seat_show(annotator_id=annotator.pk, task_id=ahead.task_id)
    assert shown is not None
    stored = Seat.objects.get(pk=ahead.pk)
    assert (stored.state, stored.held_at, stored.lease_until) == (State.HELD, shown.held_at, shown.lease_until)
    assert stored.held_at is not None
    assert stored.held_at >= before


def test_showing_twice_is_showing_once(annotator: Annotator, batch: Batch) -> None:
    held, ahead = take(annotator), reserve(annotator)
    fill(held)
    first = seat_show(annotator_id=annotator.pk, task_id=ahead.task_id)
    second = seat_show(annotator_id=annotator.pk, task_id=ahead.task_id)
    assert first is not None
    assert second is not None
    assert first.held_at == second.held_at


def test_a_reserved_task_is_not_shown_beside_the_held_one(annotator: Annotator, batch: Batch) -> None:
    take(annotator)
    ahead = reserve(annotator)
    assert seat_show(annotator_id=annotator.pk, task_id=ahead.task_id) is None
    assert states() == ["held", "open", "open", "reserved"]


def test_only_the_reserved_task_is_shown(annotator: Annotator, batch: Batch) -> None:
    held, ahead = take(annotator), reserve(annotator)
    fill(held)
    assert seat_show(annotator_id=annotator.pk, task_id=ahead.task_id + 1_000) is None
    assert seat_show(annotator_id=labeler_make(batch.project, "mia").pk, task_id=ahead.task_id) is None
    assert Seat.objects.get(pk=ahead.pk).state == State.RESERVED


def test_taking_uses_the_reservation_first(annotator: Annotator, batch: Batch) -> None:
    held, ahead = take(annotator), reserve(annotator)
    fill(held)
    assert take(annotator).pk == ahead.pk
    assert states() == ["filled", "held", "open", "open"]


def test_nobody_else_gets_a_reserved_task(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=2)
    take(annotator)
    reserve(annotator)
    other = labeler_make(project, "mia")
    assert seat_take(annotator_id=other.pk) is None


def test_a_heartbeat_keeps_the_reservation(annotator: Annotator, batch: Batch) -> None:
    held, ahead = take(annotator), reserve(annotator)
    Seat.objects.filter(pk=ahead.pk).update(lease_until=timezone.now() + timedelta(seconds=3))
    kept = seat_heartbeat(annotator_id=annotator.pk, task_id=held.task_id, idle_seconds=0)
    assert kept.seat is not None
    assert (kept.seat.pk, kept.ahead) == (held.pk, ahead.task_id)
    stored = Seat.objects.get(pk=ahead.pk).lease_until
    assert stored is not None
    assert stored > timezone.now() + timedelta(seconds=100)


def test_a_heartbeat_says_that_the_reservation_is_gone(annotator: Annotator, batch: Batch) -> None:
    held, ahead = take(annotator), reserve(annotator)
    Seat.objects.filter(pk=ahead.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert seats_expire() == 1
    kept = seat_heartbeat(annotator_id=annotator.pk, task_id=held.task_id, idle_seconds=0)
    assert kept.seat is not None
    assert kept.ahead is None


def test_a_reservation_lasts_no_longer_than_the_lease_before_it(annotator: Annotator, batch: Batch) -> None:
    """Who went away for long keeps neither."""
    held, ahead = take(annotator), reserve(annotator)
    soon = timezone.now() + timedelta(seconds=5)
    Seat.objects.filter(pk=ahead.pk).update(lease_until=soon)
    Seat.objects.filter(pk=held.pk).update(lease_until=soon, input_at=timezone.now() - timedelta(minutes=11))
    seat_heartbeat(annotator_id=annotator.pk, task_id=held.task_id, idle_seconds=660)
    assert Seat.objects.get(pk=ahead.pk).lease_until == soon


def test_a_heartbeat_is_one_statement(annotator: Annotator, batch: Batch) -> None:
    held, _ = take(annotator), reserve(annotator)
    with CaptureQueriesContext(connection) as queries:
        seat_heartbeat(annotator_id=annotator.pk, task_id=held.task_id, idle_seconds=0)
    assert len(queries) == 1


def test_a_reservation_that_runs_out_is_everybodys_again(annotator: Annotator, batch: Batch) -> None:
    held, ahead = take(annotator), reserve(annotator)
    Seat.objects.filter(pk=ahead.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert seats_expire() == 1
    back = Seat.objects.get(pk=ahead.pk)
    assert (back.state, back.annotator, back.lease_until) == (State.OPEN, None, None)
    assert back.position > max(Seat.objects.exclude(pk=back.pk).values_list("position", flat=True))
    fill(held)
    assert seat_show(annotator_id=annotator.pk, task_id=ahead.task_id) is None


def test_a_reservation_that_ran_out_unnoticed_is_still_shown(annotator: Annotator, batch: Batch) -> None:
    held, ahead = take(annotator), reserve(annotator)
    fill(held)
    run_out()
    assert seat_show(annotator_id=annotator.pk, task_id=ahead.task_id) is not None


def test_who_leaves_gives_back_what_is_reserved(annotator: Annotator, batch: Batch) -> None:
    take(annotator)
    reserve(annotator)
    assert annotator.user is not None
    assert seats_return(user=annotator.user, batch=batch) == 2
    assert states() == ["open"] * 4


def test_skipping_shows_the_reserved_task(annotator: Annotator, batch: Batch) -> None:
    held, ahead = take(annotator), reserve(annotator)
    task_skip(annotator_id=annotator.pk, task=held.task, reason=TaskSkip.Reason.UNCLEAR)
    assert seat_show(annotator_id=annotator.pk, task_id=ahead.task_id) is not None


def test_skipping_the_reserved_task_gives_it_back(annotator: Annotator, batch: Batch) -> None:
    """From another tab, where a draft of it is open."""
    take(annotator)
    ahead = reserve(annotator)
    task_skip(annotator_id=annotator.pk, task=ahead.task, reason=TaskSkip.Reason.UNCLEAR)
    assert Seat.objects.get(pk=ahead.pk).state == State.OPEN
    assert reserve(annotator).task_id != ahead.task_id


@pytest.mark.parametrize(
    ("person", "of_batch", "of_pool"),
    [
        ({"accepts_sensitive": []}, {}, {}),
        ({"languages": ["de"]}, {}, {"language": "en"}),
        ({"skills": []}, {}, {"skills": ["law"]}),
        ({}, {"state": "closed"}, {}),
        ({}, {"state": "paused"}, {}),
    ],
)
def test_a_reserved_task_that_is_not_for_them_any_more_is_never_shown(
    annotator: Annotator, batch: Batch, person: dict[str, Any], of_batch: dict[str, Any], of_pool: dict[str, Any]
) -> None:
    Annotator.objects.update(accepts_sensitive=["hate"], skills=["law"])
    Pool.objects.update(sensitivity=["hate"])
    held, ahead = take(annotator), reserve(annotator)
    Annotator.objects.filter(pk=annotator.pk).update(**person)
    Pool.objects.update(**of_pool)
    Batch.objects.update(**of_batch)
    fill(held)
    assert seat_show(annotator_id=annotator.pk, task_id=ahead.task_id) is None
    assert Seat.objects.get(pk=ahead.pk).state == State.OPEN
    assert seat_take(annotator_id=annotator.pk) is None


def test_who_opts_out_is_shown_nothing_more_of_it_by_no_way(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    """Held and reserved sensitive tasks are not renewed, and the sweep gives them to others within seconds."""
    Annotator.objects.update(accepts_sensitive=["hate"])
    batch_with_tasks(project, protocol, tasks=3)
    Pool.objects.update(sensitivity=["hate"])
    held, _ = take(annotator), reserve(annotator)
    Annotator.objects.filter(pk=annotator.pk).update(accepts_sensitive=["violence"])
    assert seat_heartbeat(annotator_id=annotator.pk, task_id=held.task_id, idle_seconds=0) == (None, None)
    assert seats_expire() == 2
    assert states() == ["open"] * 3
    assert seat_take(annotator_id=annotator.pk) is None
    assert seat_reserve(annotator_id=annotator.pk) is None


def test_who_opts_out_of_what_is_reserved_keeps_what_they_hold(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    Annotator.objects.update(accepts_sensitive=["hate"])
    batch_with_tasks(project, protocol, tasks=1, priority=1)
    batch_with_tasks(project, protocol, tasks=1, name="Harsh")
    Pool.objects.filter(batch__name="Harsh").update(sensitivity=["hate"])
    held, ahead = take(annotator), reserve(annotator)
    assert ahead.pool.sensitivity == ["hate"]
    Annotator.objects.filter(pk=annotator.pk).update(accepts_sensitive=[])
    kept = seat_heartbeat(annotator_id=annotator.pk, task_id=held.task_id, idle_seconds=0)
    assert kept.seat is not None
    assert kept.ahead is None
    assert seat_reserve(annotator_id=annotator.pk) is None
    assert states() == ["held", "open"]


def test_who_never_opted_in_is_never_seated(annotator: Annotator, batch: Batch) -> None:
    take(annotator)
    Pool.objects.update(sensitivity=["hate"])
    assert seat_reserve(annotator_id=annotator.pk) is None
    Seat.objects.filter(state=State.HELD).update(**{"state": State.OPEN, "annotator": None, "held_at": None,
                                                    "lease_until": None})  # fmt: skip
    assert seat_take(annotator_id=annotator.pk) is None


def test_a_reserved_seat_goes_where_its_prompt_goes(annotator: Annotator, project: Project, batch: Batch) -> None:
    take(annotator)
    ahead = reserve(annotator)
    prompt = ahead.task.prompt
    Prompt.objects.filter(pk=prompt.pk).update(sensitivity=["hate"])
    assert seats_rehome(project=project, prompt_ids=[prompt.pk]) == 1
    back = Seat.objects.get(pk=ahead.pk)
    assert (back.state, back.annotator, back.pool.sensitivity) == (State.OPEN, None, ["hate"])


def test_the_quota_counts_labels_and_what_is_held_and_reserved(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch = batch_with_tasks(project, protocol, tasks=6, quota=3)
    tally_count(annotator_id=annotator.pk, batch_id=batch.pk)
    held, ahead = take(annotator), reserve(annotator)
    fill(held)
    tally_count(annotator_id=annotator.pk, batch_id=batch.pk)
    assert BatchTally.objects.get().labels == 2
    shown = seat_show(annotator_id=annotator.pk, task_id=ahead.task_id)
    assert shown is not None
    assert seat_reserve(annotator_id=annotator.pk) is None
    fill(shown)
    tally_count(annotator_id=annotator.pk, batch_id=batch.pk)
    assert seat_take(annotator_id=annotator.pk) is None
    assert seat_take(annotator_id=labeler_make(project, "mia").pk) is not None


def test_who_has_filled_a_quota_goes_on_elsewhere(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    full = batch_with_tasks(project, protocol, tasks=2, quota=1, priority=5)
    other = batch_with_tasks(project, protocol, tasks=2)
    tally_count(annotator_id=annotator.pk, batch_id=full.pk)
    assert take(annotator).pool.batch_id == other.pk


def test_a_reservation_beyond_a_smaller_quota_is_not_shown(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch = batch_with_tasks(project, protocol, tasks=3, quota=2)
    held, ahead = take(annotator), reserve(annotator)
    Batch.objects.update(quota=1)
    fill(held)
    tally_count(annotator_id=annotator.pk, batch_id=batch.pk)
    assert seat_show(annotator_id=annotator.pk, task_id=ahead.task_id) is None


def test_the_two_kinds_of_work_have_queues_of_their_own(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=2, name="Compare")
    batch_with_tasks(project, protocol, tasks=2, name="Write", work=Batch.Work.DEMONSTRATION)
    writing = seat_take(annotator_id=annotator.pk, work=Batch.Work.DEMONSTRATION)
    assert writing is not None
    assert writing.pool.batch.name == "Write"
    ahead = seat_reserve(annotator_id=annotator.pk, work=Batch.Work.DEMONSTRATION)
    assert ahead is not None
    assert ahead.pool.batch.name == "Write"
    assert take(annotator).pool.batch.name == "Compare"
    assert states() == ["held", "open", "open", "open"]


@pytest.mark.parametrize(
    ("act", "statements"),
    [
        (lambda who, ahead: seat_take(annotator_id=who.pk), 3),
        (lambda who, ahead: seat_reserve(annotator_id=who.pk), 3),
    ],
)
def test_a_seat_costs_a_lock_and_two_statements(
    annotator: Annotator, batch: Batch, act: Callable[[Annotator, Seat | None], object], statements: int
) -> None:
    take(annotator)
    with CaptureQueriesContext(connection) as queries:
        act(annotator, None)
    assert len(queries) == statements


def test_a_first_take_and_a_show_cost_a_lock_and_two_statements(annotator: Annotator, batch: Batch) -> None:
    with CaptureQueriesContext(connection) as queries:
        held = take(annotator)
    assert len(queries) == 3
    ahead = reserve(annotator)
    fill(held)
    with CaptureQueriesContext(connection) as queries:
        seat_show(annotator_id=annotator.pk, task_id=ahead.task_id)
    assert len(queries) == 3
