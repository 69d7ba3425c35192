"""Reserving, taking, showing and sweeping at the same time, each on a connection of its own."""

import threading
from collections.abc import Callable

import pytest
from django.db import connection
from django.utils import timezone

from labelapp.labeling.services.seats import (
    seat_heartbeat,
    seat_reserve,
    seat_take,
    seat_transition,
    seats_expire,
)
from labelapp.models import Annotator, Batch, Project, Protocol, Seat
from tests.factories import batch_with_tasks, labeler_make
from tests.labeling.acts import reserve, states, take

State = Seat.State


@pytest.fixture
def batch(project: Project, protocol: Protocol) -> Batch:
    return batch_with_tasks(project, protocol, tasks=4)


def together(*acts: Callable[[], object]) -> list[Exception]:
    """Do all at once, each on a connection of its own; return what failed."""
    barrier, faults = threading.Barrier(len(acts)), list[Exception]()

    def run(act: Callable[[], object]) -> None:
        try:
            barrier.wait(10)
            act()
        except Exception as fault:
            faults.append(fault)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=[act]) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return faults


@pytest.mark.django_db(transaction=True)
def test_two_requests_at_once_reserve_one_seat(annotator: Annotator, batch: Batch) -> None:
    take(annotator)
    kept: list[int] = []
    assert together(*[lambda: kept.append(reserve(annotator).pk)] * 4) == []
    assert len(kept) == 4
    assert len(set(kept)) == 1
    assert states() == ["held", "open", "open", "reserved"]


@pytest.mark.django_db(transaction=True)
def test_reserving_and_taking_at_once_never_give_one_seat_to_two(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=6)
    people = [annotator, *(labeler_make(project, name) for name in ("mia", "noa"))]
    take(annotator)
    acts = [lambda who=who: seat_take(annotator_id=who.pk) for who in people[1:]]
    assert together(lambda: reserve(annotator), *acts) == []
    given = list(Seat.objects.exclude(state=State.OPEN).values_list("annotator", "state"))
    assert sorted(given) == sorted([(who.pk, State.HELD) for who in people] + [(annotator.pk, State.RESERVED)])


@pytest.mark.django_db(transaction=True)
def test_beats_reservations_shows_and_sweeps_at_once_never_fail(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=8)
    people = [annotator, labeler_make(project, "mia")]

    def work(who: Annotator) -> None:
        for turn in range(12):
            seat = take(who)
            seat_heartbeat(annotator_id=who.pk, task_id=seat.task_id, idle_seconds=0)
            seat_reserve(annotator_id=who.pk)
            if turn % 3 == 0:
                Seat.objects.filter(annotator=who, state=State.RESERVED).update(lease_until=timezone.now())
            seat_transition(Seat.objects.filter(annotator=who, state=State.HELD), State.OPEN)

    sweeps = [lambda: [seats_expire() for _ in range(20)]] * 2
    assert together(*[lambda who=who: work(who) for who in people * 2], *sweeps) == []
    for who in people:
        assert Seat.objects.filter(annotator=who, state=State.HELD).count() <= 1
