"""Seats follow what becomes known about their prompts."""

import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.utils import timezone

from labelapp.labeling.selectors import held_elsewhere, labels_by_person
from labelapp.labeling.services.batches import PromptChoice, tasks_create
from labelapp.labeling.services.pools import seats_rehome
from labelapp.labeling.services.seats import seat_take, seats_expire, task_skip
from labelapp.models import Annotator, Batch, Pool, Project, Prompt, Protocol, Seat, SeatCursor, TaskSkip
from tests.factories import annotation_make, batch_with_tasks, external_make, labeler_make, prompt_with_completions

State = Seat.State


def learn(project: Project, **known: Any) -> int:
    """What an import does that finds out more about all prompts."""
    Prompt.objects.filter(project=project).update(**known)
    return seats_rehome(project=project, prompt_ids=list(Prompt.objects.values_list("pk", flat=True)))


@pytest.mark.parametrize("known", [{"sensitivity": ["violence", "abuse"]}, {"language": "de"}])
@pytest.mark.parametrize("state", [Batch.State.OPEN, Batch.State.PAUSED, Batch.State.DRAFT])
def test_open_seats_move_to_those_who_may_see_them(
    annotator: Annotator, project: Project, protocol: Protocol, known: dict[str, Any], state: Batch.State
) -> None:
    batch = batch_with_tasks(project, protocol, tasks=2, overlap=2, shared_overlap=2)
    Batch.objects.update(state=state)
    assert learn(project, **known) == 4
    Batch.objects.update(state=Batch.State.OPEN)
    assert seat_take(annotator_id=annotator.pk) is None
    Annotator.objects.update(languages=["en", "de"], accepts_sensitive=["abuse", "violence"])
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    assert seat.pool.batch_id == batch.pk
    assert seat.pool.sensitivity == sorted(known.get("sensitivity", []))


def test_moved_seats_are_ahead_of_every_cursor(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    Annotator.objects.update(accepts_sensitive=["hate"])
    batch = batch_with_tasks(project, protocol, tasks=2)
    pool = Pool.objects.create(batch=batch, sensitivity=["hate"])
    last = Seat.objects.latest("position").position
    SeatCursor.objects.create(annotator=annotator, pool=pool, position=last)
    learn(project, sensitivity=["hate"])
    assert list(Seat.objects.filter(position__gt=last).values_list("pool", flat=True)) == [pool.pk, pool.pk]


def test_what_a_pool_asks_for_besides_goes_along(project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1, skills=["law"])
    Pool.objects.update(purpose="evaluation", boost=3)
    learn(project, language="de")
    pool = Seat.objects.get().pool
    assert (pool.language, pool.skills, pool.purpose, pool.boost) == ("de", ["law"], "evaluation", 3)


def test_a_held_seat_leaves_a_holder_who_may_not_see_it(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    held = seat_take(annotator_id=annotator.pk)
    assert held is not None
    assert learn(project, sensitivity=["hate"]) == 1
    seat = Seat.objects.get()
    assert (seat.state, seat.annotator, seat.pool.sensitivity) == (State.OPEN, None, ["hate"])
    assert seat.position > held.position
    assert seat_take(annotator_id=annotator.pk) is None


@pytest.mark.parametrize("state", [Batch.State.OPEN, Batch.State.PAUSED])
def test_a_held_seat_stays_with_a_holder_who_may_see_it(
    annotator: Annotator, project: Project, protocol: Protocol, state: Batch.State
) -> None:
    Annotator.objects.update(accepts_sensitive=["hate"])
    batch_with_tasks(project, protocol, tasks=1)
    held = seat_take(annotator_id=annotator.pk)
    assert held is not None
    Batch.objects.update(state=state)
    learn(project, sensitivity=["hate"])
    seat = Seat.objects.get()
    assert (seat.state, seat.annotator, seat.position) == (State.HELD, annotator, held.position)
    assert seat.pool.sensitivity == ["hate"]


def test_a_held_seat_that_went_along_returns_to_the_right_queue(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    Annotator.objects.update(accepts_sensitive=["hate"])
    batch_with_tasks(project, protocol, tasks=1)
    other = labeler_make(project, "mia")
    assert seat_take(annotator_id=annotator.pk) is not None
    learn(project, sensitivity=["hate"])
    Seat.objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert seats_expire() == 1
    assert seat_take(annotator_id=other.pk) is None


def test_filled_seats_and_closed_batches_stay(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    assert seat_take(annotator_id=annotator.pk) is not None
    Seat.objects.update(state=State.FILLED, lease_until=None)
    closed = batch_with_tasks(project, protocol, tasks=1)
    Batch.objects.filter(pk=closed.pk).update(state=Batch.State.CLOSED)
    assert learn(project, sensitivity=["hate"]) == 0


def test_only_the_given_prompts_seats_move_and_only_once(project: Project, protocol: Protocol) -> None:
    batch = batch_with_tasks(project, protocol, tasks=3)
    Prompt.objects.update(sensitivity=["hate"])
    chosen = batch.tasks.values_list("prompt", flat=True)[0]
    assert seats_rehome(project=project, prompt_ids=[chosen]) == 1
    assert seats_rehome(project=project, prompt_ids=[chosen]) == 0
    assert seats_rehome(project=project, prompt_ids=[]) == 0
    assert Seat.objects.filter(pool__sensitivity=["hate"]).count() == 1


def test_many_seats_move_in_few_queries(
    project: Project, protocol: Protocol, django_assert_max_num_queries: Any
) -> None:
    batch_with_tasks(project, protocol, tasks=20)
    with django_assert_max_num_queries(15):
        assert learn(project, sensitivity=["hate"]) == 20


def _waiting() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
        return bool(cursor.fetchone()[0])


@pytest.mark.django_db(transaction=True)
def test_tasks_made_during_an_import_know_what_it_learned(project: Project, protocol: Protocol) -> None:
    """The import sees no seats of tasks that are not committed, so making tasks waits for it."""
    prompt = prompt_with_completions(project)
    batch = Batch.objects.create(project=project, protocol=protocol, name="First", shared_share=0)

    def make() -> None:
        choice, ids = PromptChoice(), [prompt.pk]
        tasks_create(batch=batch, prompt_ids=ids, choice=choice, probability=1.0, salt=project.salt)
        connection.close()

    maker = threading.Thread(target=make)
    with transaction.atomic():
        learn(project, sensitivity=["hate"])
        maker.start()
        for _ in range(100):
            if _waiting() or not maker.is_alive():
                break
            time.sleep(0.05)
    maker.join()
    assert Seat.objects.get().pool.sensitivity == ["hate"]


@pytest.mark.parametrize(
    ("person", "batch", "pool", "counted"),
    [
        ({}, {}, {}, 1),
        ({}, {"state": "paused"}, {}, 0),
        ({}, {"state": "closed"}, {}, 0),
        ({}, {}, {"language": "de"}, 0),
        ({"languages": ["de"]}, {}, {"language": "de"}, 1),
        ({}, {}, {"skills": ["law"]}, 0),
        ({}, {}, {"sensitivity": ["hate"]}, 0),
        ({"accepts_sensitive": ["hate", "abuse"]}, {}, {"sensitivity": ["hate"]}, 1),
    ],
)
def test_only_seats_that_could_come_back_to_a_person_are_held_elsewhere(
    annotator: Annotator,
    project: Project,
    protocol: Protocol,
    person: dict[str, Any],
    batch: dict[str, Any],
    pool: dict[str, Any],
    counted: int,
) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    assert seat_take(annotator_id=labeler_make(project, "mia").pk) is not None
    Annotator.objects.filter(pk=annotator.pk).update(**person)
    annotator.refresh_from_db()
    Batch.objects.update(**batch)
    Pool.objects.update(**pool)
    assert held_elsewhere(annotator=annotator) == counted


@pytest.mark.parametrize("did", ["skipped", "labelled"])
def test_a_task_that_a_person_is_done_with_is_not_held_elsewhere(
    annotator: Annotator, project: Project, protocol: Protocol, did: str
) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    seat = seat_take(annotator_id=labeler_make(project, "mia").pk)
    assert seat is not None
    if did == "skipped":
        task_skip(annotator_id=annotator.pk, task=seat.task, reason=TaskSkip.Reason.UNCLEAR)
    else:
        annotation_make(seat.task, annotator, surplus=True)
    assert held_elsewhere(annotator=annotator) == 0


def test_a_correction_is_no_label_of_its_own(project: Project, protocol: Protocol) -> None:
    task = batch_with_tasks(project, protocol, tasks=1).tasks.get()
    crowd = external_make(project, "crowd-7")
    first = annotation_make(task, crowd, surplus=True)
    annotation_make(task, crowd, supersedes=first, surplus=True)
    assert [(row["labels"], row["surplus"]) for row in labels_by_person(task.batch)] == [(1, 1)]
