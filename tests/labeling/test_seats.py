import threading
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from labelapp.labeling.seating import seating_new
from labelapp.labeling.services.annotations import draft_save
from labelapp.labeling.services.seats import (
    LEASE,
    LEASE_CAP,
    seat_heartbeat,
    seat_take,
    seat_transition,
    seats_expire,
    seats_return,
    task_skip,
)
from labelapp.models import Annotator, Batch, Draft, Pool, Project, Protocol, Seat, SeatCursor, TaskSkip
from tests.factories import batch_with_tasks, labeler_make


def _fill(seat: Seat) -> None:
    """What submitting does to the queue, without the annotation's content."""
    Seat.objects.filter(pk=seat.pk).update(state=Seat.State.FILLED, lease_until=None)


def test_take_gives_the_first_seat_and_holds_it(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=2)
    first = Seat.objects.order_by("position").first()
    seat = seat_take(annotator_id=annotator.pk)
    assert first is not None
    assert seat is not None
    assert seat.pk == first.pk
    assert (seat.state, seat.annotator_id) == (Seat.State.HELD, annotator.pk)
    assert seat.held_at is not None
    assert seat.lease_until == seat.held_at + LEASE


def test_take_again_gives_the_same_seat(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=2)
    seats = {getattr(seat_take(annotator_id=annotator.pk), "pk", None) for _ in range(3)}
    assert len(seats) == 1
    assert Seat.objects.filter(state=Seat.State.HELD).count() == 1


def test_take_finds_nothing_in_an_empty_project(annotator: Annotator) -> None:
    assert seat_take(annotator_id=annotator.pk) is None


def test_two_people_never_hold_one_seat(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1, overlap=1)
    other = labeler_make(project, "mia")
    assert seat_take(annotator_id=annotator.pk) is not None
    assert seat_take(annotator_id=other.pk) is None


def test_overlap_seats_go_to_different_people(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1, overlap=2, shared_overlap=2)
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    with pytest.raises(IntegrityError, match="seat_person_once_per_task"), transaction.atomic():
        Seat.objects.exclude(pk=seat.pk).update(state=Seat.State.FILLED, annotator=annotator, held_at=timezone.now())


@pytest.mark.parametrize("state", [Batch.State.DRAFT, Batch.State.PAUSED, Batch.State.CLOSED])
def test_only_open_batches_are_served(
    annotator: Annotator, project: Project, protocol: Protocol, state: Batch.State
) -> None:
    batch = batch_with_tasks(project, protocol)
    Batch.objects.filter(pk=batch.pk).update(state=state)
    assert seat_take(annotator_id=annotator.pk) is None


def test_higher_priority_is_served_first(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, name="Later", priority=0)
    urgent = batch_with_tasks(project, protocol, name="Urgent", priority=5)
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    assert seat.pool.batch_id == urgent.pk


def test_nearer_deadline_breaks_a_tie_of_priority(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, name="No deadline")
    batch_with_tasks(project, protocol, name="Far", deadline="2030-01-01")
    near = batch_with_tasks(project, protocol, name="Near", deadline="2029-01-01")
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    assert seat.pool.batch_id == near.pk


@pytest.mark.parametrize(
    ("pool", "person"),
    [
        ({"language": "de"}, {"languages": ["en", "de"]}),
        ({"skills": ["medicine"]}, {"skills": ["law", "medicine"]}),
        ({"sensitivity": ["violence"]}, {"accepts_sensitive": ["violence"]}),
    ],
)
def test_a_pool_serves_only_those_who_qualify(
    annotator: Annotator,
    project: Project,
    protocol: Protocol,
    pool: dict[str, object],
    person: dict[str, object],
) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    Pool.objects.update(**pool)
    assert seat_take(annotator_id=annotator.pk) is None
    Annotator.objects.filter(pk=annotator.pk).update(**person)
    assert seat_take(annotator_id=annotator.pk) is not None


def test_a_skipped_task_never_returns(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=2)
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    task_skip(annotator_id=annotator.pk, task=seat.task, reason=TaskSkip.Reason.UNCLEAR)
    task_skip(annotator_id=annotator.pk, task=seat.task, reason=TaskSkip.Reason.OTHER)
    second = seat_take(annotator_id=annotator.pk)
    assert second is not None
    assert second.task_id != seat.task_id
    task_skip(annotator_id=annotator.pk, task=second.task, reason=TaskSkip.Reason.UNCLEAR)
    assert seat_take(annotator_id=annotator.pk) is None
    assert TaskSkip.objects.get(task=seat.task).reason == TaskSkip.Reason.UNCLEAR


def test_a_skipped_seat_is_open_to_others_at_a_new_position(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=2)
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    task_skip(annotator_id=annotator.pk, task=seat.task, reason=TaskSkip.Reason.UNCLEAR)
    back = Seat.objects.get(pk=seat.pk)
    assert back.state == Seat.State.OPEN
    assert back.position > max(Seat.objects.exclude(pk=seat.pk).values_list("position", flat=True))


def test_an_expired_lease_returns_to_everyone_whatever_their_cursor(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=2)
    abandoned = seat_take(annotator_id=annotator.pk)
    other = labeler_make(project, "mia")
    ahead = seat_take(annotator_id=other.pk)
    assert abandoned is not None
    assert ahead is not None
    _fill(ahead)
    Seat.objects.filter(pk=abandoned.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert seats_expire() == 1
    again = seat_take(annotator_id=other.pk)
    assert again is not None
    assert again.pk == abandoned.pk


def test_a_live_lease_does_not_expire(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seat_take(annotator_id=annotator.pk)
    assert seats_expire() == 0


def test_a_cursor_hides_nothing_for_good(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    """A seat behind the cursor (locked by another while the cursor went by) is found by the rescan."""
    batch_with_tasks(project, protocol, tasks=1)
    pool = Pool.objects.get()
    SeatCursor.objects.create(annotator=annotator, pool=pool, position=10**12)
    assert seat_take(annotator_id=annotator.pk) is not None


def test_the_cursor_follows_the_seats_taken(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=3)
    for _ in range(2):
        seat = seat_take(annotator_id=annotator.pk)
        assert seat is not None
        assert SeatCursor.objects.get(annotator=annotator).position == seat.position
        _fill(seat)


def test_a_heartbeat_renews_while_there_is_input(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    soon = timezone.now() + timedelta(seconds=5)
    Seat.objects.update(lease_until=soon)
    renewed = seat_heartbeat(annotator_id=annotator.pk, task_id=seat.task_id, idle_seconds=30).seat
    assert renewed is not None
    assert renewed.lease_until is not None
    assert renewed.lease_until > soon + timedelta(minutes=4)


def test_a_heartbeat_without_input_lets_the_lease_run_out(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    soon = timezone.now() + timedelta(seconds=5)
    Seat.objects.update(lease_until=soon, input_at=timezone.now() - timedelta(minutes=11))
    kept = seat_heartbeat(annotator_id=annotator.pk, task_id=seat.task_id, idle_seconds=660).seat
    assert kept is not None
    assert kept.lease_until == soon


def test_a_lease_ends_at_its_cap_whatever_the_heartbeats(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    held_at = timezone.now() - LEASE_CAP + timedelta(minutes=1)
    Seat.objects.update(held_at=held_at, lease_until=timezone.now())
    kept = seat_heartbeat(annotator_id=annotator.pk, task_id=seat.task_id, idle_seconds=0).seat
    assert kept is not None
    assert kept.lease_until == held_at + LEASE_CAP


def test_a_heartbeat_for_a_lost_seat_says_so(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seat = Seat.objects.get()
    assert seat_heartbeat(annotator_id=annotator.pk, task_id=seat.task_id, idle_seconds=0) == (None, None)


@pytest.mark.django_db(transaction=True)
def test_one_person_asking_twice_at_once_holds_one_seat(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=5)
    taken: list[int] = []
    barrier = threading.Barrier(4)

    def take() -> None:
        barrier.wait()
        seat = seat_take(annotator_id=annotator.pk)
        taken.append(seat.pk if seat else 0)
        connection.close()

    threads = [threading.Thread(target=take) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 4
    assert len(set(taken)) == 1
    assert Seat.objects.filter(state=Seat.State.HELD).count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_seat_locked_by_another_is_stepped_over(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=2)
    first, second = Seat.objects.order_by("position")
    locked, done = threading.Event(), threading.Event()

    def hold_lock() -> None:
        with transaction.atomic():
            Seat.objects.select_for_update().get(pk=first.pk)
            locked.set()
            done.wait(10)
        connection.close()

    thread = threading.Thread(target=hold_lock)
    thread.start()
    assert locked.wait(10)
    seat = seat_take(annotator_id=annotator.pk)
    done.set()
    thread.join()
    assert seat is not None
    assert seat.pk == second.pk


def test_who_comes_back_as_the_lease_is_swept_is_seated_again(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    """The sweep takes the seat between two requests: the next one finds it, or another, and never fails."""
    batch_with_tasks(project, protocol, tasks=1)
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    Seat.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert seats_expire() == 1
    again = seat_take(annotator_id=annotator.pk)
    assert again is not None
    assert (again.pk, again.state) == (seat.pk, Seat.State.HELD)


@pytest.mark.django_db(transaction=True)
def test_sweep_and_return_at_once_leave_one_holder(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    faults: list[Exception] = []

    def repeat(act: Callable[[], object]) -> None:
        try:
            for _ in range(40):
                act()
        except Exception as fault:
            faults.append(fault)
        finally:
            connection.close()

    def take() -> None:
        seat_take(annotator_id=annotator.pk)
        Seat.objects.filter(state=Seat.State.HELD).update(lease_until=timezone.now() - timedelta(seconds=1))

    threads = [threading.Thread(target=repeat, args=[act]) for act in (take, take, seats_expire)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_coming_back_does_not_stretch_a_lease_beyond_its_cap(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seat_take(annotator_id=annotator.pk)
    held_at = timezone.now() - LEASE_CAP + timedelta(minutes=1)
    Seat.objects.update(held_at=held_at)
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    assert seat.lease_until == held_at + LEASE_CAP


def test_a_held_task_of_a_closed_batch_is_given_back(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seat_take(annotator_id=annotator.pk)
    Batch.objects.update(state=Batch.State.CLOSED)
    assert seat_take(annotator_id=annotator.pk) is None
    assert Seat.objects.get().state == Seat.State.OPEN


def test_opting_out_gives_back_what_is_held(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    Pool.objects.update(sensitivity=["violence"])
    Annotator.objects.filter(pk=annotator.pk).update(accepts_sensitive=["violence"])
    assert seat_take(annotator_id=annotator.pk) is not None
    Annotator.objects.filter(pk=annotator.pk).update(accepts_sensitive=[])
    assert seat_take(annotator_id=annotator.pk) is None
    assert Seat.objects.get().state == Seat.State.OPEN


def test_returning_keeps_the_draft_and_may_bring_the_task_back(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch = batch_with_tasks(project, protocol, tasks=1)
    held = seat_take(annotator_id=annotator.pk)
    assert held is not None
    assert annotator.user is not None
    seating = seating_new(task_id=held.task_id, annotator_id=annotator.pk, seat=held, draft=None)
    draft_save(seating=seating, content={"ranking": "A B"}, revision=1)
    assert seats_return(user=annotator.user, batch=batch) == 1
    assert seats_return(user=annotator.user, batch=batch) == 0
    assert Draft.objects.get().content == {"ranking": "A B"}
    again = seat_take(annotator_id=annotator.pk)
    assert again is not None
    assert again.task_id == held.task_id


def test_returning_leaves_other_batches_and_other_people(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch = batch_with_tasks(project, protocol, tasks=2)
    other = labeler_make(project, "mia")
    assert seat_take(annotator_id=annotator.pk)
    assert seat_take(annotator_id=other.pk)
    assert annotator.user is not None
    assert seats_return(user=annotator.user, batch=batch_with_tasks(project, protocol, tasks=1)) == 0
    assert seats_return(user=annotator.user, batch=batch) == 1
    assert Seat.objects.get(state=Seat.State.HELD).annotator == other


def test_a_seat_moves_only_along_its_states(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seats = Seat.objects.all()
    assert seat_transition(seats, Seat.State.OPEN) == 0
    now = timezone.now()
    held = {"annotator": annotator, "held_at": now, "lease_until": now}
    assert seat_transition(seats, Seat.State.HELD, **held) == 1
    assert seat_transition(seats, Seat.State.HELD, **held) == 0
    assert seat_transition(seats, Seat.State.FILLED, lease_until=None) == 1
    assert seat_transition(seats, Seat.State.OPEN) == 0
