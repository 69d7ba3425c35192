"""Where a queue begins: kept with the pool, so that nobody steps over what was done long ago."""

import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from labelapp.labeling.services.pools import pools_advance
from labelapp.labeling.services.queue import WAITS, seat_next, seated_lock
from labelapp.labeling.services.seats import LEASE, seat_take, seat_transition, seats_expire
from labelapp.labeling.tasks import seats_expire as sweep
from labelapp.models import Annotator, Batch, Pool, Project, Protocol, Seat, SeatCursor
from tests.factories import batch_with_tasks, labeler_make

SOURCES = Path(__file__).parents[2] / "labelapp"


def fill(count: int, person: Annotator) -> None:
    for _ in range(count):
        seat = seat_take(annotator_id=person.pk)
        assert seat is not None
        seat_transition(Seat.objects.filter(pk=seat.pk), Seat.State.FILLED, lease_until=None)


def first_open() -> int:
    return Seat.objects.filter(state=Seat.State.OPEN).earliest("position").position


def test_the_head_moves_to_the_first_open_seat(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=4)
    assert pools_advance() == 1
    assert Pool.objects.get().head == first_open()
    fill(2, annotator)
    assert pools_advance() == 1
    assert Pool.objects.get().head == first_open()
    assert pools_advance() == 0


def test_the_sweep_moves_it(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=2)
    fill(1, annotator)
    assert sweep() == 0
    assert Pool.objects.get().head == first_open()


def test_an_empty_queue_keeps_its_head(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    """Seats that are made at this moment may get lower positions than those of now."""
    batch_with_tasks(project, protocol, tasks=1)
    pools_advance()
    head = Pool.objects.get().head
    fill(1, annotator)
    assert pools_advance() == 0
    assert Pool.objects.get().head == head


@pytest.mark.parametrize("state", [Batch.State.PAUSED, Batch.State.CLOSED, Batch.State.DRAFT])
def test_only_open_batches_are_looked_at(project: Project, protocol: Protocol, state: Batch.State) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    Batch.objects.update(state=state)
    assert pools_advance() == 0


def test_a_held_seat_that_comes_back_stands_behind_the_head(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=2)
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    pools_advance()
    Seat.objects.filter(pk=seat.pk).update(lease_until=timezone.now() - timedelta(seconds=1))
    assert seats_expire() == 1
    assert Seat.objects.get(pk=seat.pk).position > Pool.objects.get().head
    fill(2, labeler_make(project, "mia"))


def test_new_people_start_at_the_head(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=3)
    third = Seat.objects.latest("position")
    Pool.objects.update(head=third.position)
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    assert seat.pk == third.pk


def test_who_has_an_old_cursor_starts_at_the_head(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=3)
    third = Seat.objects.latest("position")
    Pool.objects.update(head=third.position)
    SeatCursor.objects.create(annotator=annotator, pool=Pool.objects.get(), position=1)
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    assert seat.pk == third.pk


def test_a_head_hides_nothing_and_is_put_right(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    """Seats that became visible behind it are found before anybody is told that nothing is left."""
    batch_with_tasks(project, protocol, tasks=2)
    Pool.objects.update(head=10**12)
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    assert Pool.objects.get().head == seat.position
    other = seat_take(annotator_id=labeler_make(project, "mia").pk)
    assert other is not None
    assert other.pk != seat.pk


def test_a_take_of_the_next_seat_is_one_statement(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seated = seated_lock(annotator.pk)
    with CaptureQueriesContext(connection) as queries:
        seat = seat_next(seated, to=Seat.State.HELD, lease=LEASE, work=Batch.Work.COMPARISON, beside=0, rescan=False)
    assert len(queries) == 1
    assert seat is not None
    stored = Seat.objects.get(pk=seat.pk)
    assert (stored.state, stored.annotator, stored.lease_until) == (seat.state, annotator, seat.lease_until)
    assert SeatCursor.objects.get().position == seat.position


def test_a_rescan_that_finds_nothing_costs_one_statement_more(annotator: Annotator) -> None:
    with CaptureQueriesContext(connection) as queries:
        assert seat_take(annotator_id=annotator.pk) is None
    assert len(queries) == 4


@pytest.mark.django_db(transaction=True)
def test_many_who_take_at_once_get_a_seat_each(project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=6)
    people = [labeler_make(project, f"person{number}") for number in range(6)]
    barrier, faults, taken = threading.Barrier(len(people)), list[Exception](), list[int]()

    def take(person: Annotator) -> None:
        try:
            barrier.wait(10)
            seat = seat_take(annotator_id=person.pk)
            taken.append(seat.pk if seat else 0)
        except Exception as fault:
            faults.append(fault)
        finally:
            connection.close()

    threads = [threading.Thread(target=take, args=[person]) for person in people]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert len(set(taken) - {0}) == 6


def test_the_queue_is_read_by_its_index(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    """With statistics of a full table: what a person filled is never read through to find what they hold."""
    batch_with_tasks(project, protocol, tasks=1)
    pool, task = Pool.objects.get(), Seat.objects.get().task
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute("SET LOCAL enable_seqscan = off")  # what other tests left behind makes the table look small
        cursor.execute(
            "INSERT INTO labelapp_seat (pool_id, task_id, state, annotator_id)"
            " SELECT %s, 1000000 + i, 'filled', %s FROM generate_series(1, 20000) i",
            [pool.pk, annotator.pk],
        )
        cursor.execute(
            "INSERT INTO labelapp_seat (pool_id, task_id, state) SELECT %s, %s, 'open' FROM generate_series(1, 20000)",
            [pool.pk, task.pk],
        )
        cursor.execute("ANALYZE labelapp_seat")
        plan = _plan(cursor, annotator, project)
    assert "seat_queue" in plan
    assert "seat_person_once_per_task" not in plan


def _plan(cursor: Any, annotator: Annotator, project: Project) -> str:
    values = {"annotator": annotator.pk, "project": project.pk, "languages": [], "skills": [], "accepts": [],
              "work": "comparison", "beside": 0, "rescan": False}  # fmt: skip
    cursor.execute("EXPLAIN " + WAITS[Batch.Work.COMPARISON], values)
    return "\n".join(row[0] for row in cursor.fetchall())


def test_seats_change_their_state_in_two_places_only() -> None:
    """`seat_transition`, and the statement that finds a seat; nothing else says `state=` about seats."""
    setters = [
        path.relative_to(SOURCES).as_posix()
        for path in SOURCES.rglob("*.py")
        if "UPDATE labelapp_seat" in path.read_text() and "SET state" in path.read_text()
    ]
    assert setters == ["labeling/services/queue.py"]
