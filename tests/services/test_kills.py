"""SIGKILL of web, worker, redis and PostgreSQL while people label: what was acknowledged is there afterwards."""

import asyncio
import random
from collections.abc import Callable

import pytest

from benchmarks.rig.labelers import Labeler, Record
from benchmarks.rig.project import PASSWORD, SLUG
from benchmarks.rig.web import wait_for
from tests.services.conftest import Stack

pytestmark = pytest.mark.services

BUILD = "from benchmarks.rig.project import build; found = build(*given)"
COUNTS = """
from benchmarks.rig.project import counts
found = counts([tuple(pair) for pair in given[0]], given[1])
"""
HALF_STATES = """
from django.db.models import Count
from labelapp.models import Annotation, Draft, Seat
filled = set(Seat.objects.filter(state="filled").values_list("pk", flat=True))
seated = set(Annotation.objects.filter(seat__isnull=False).values_list("seat_id", flat=True))
ratings = Annotation.objects.annotate(count=Count("ratings")).values_list("count", flat=True)
found = {
    "filled_without_annotation": len(filled - seated),
    "annotation_without_filled_seat": len(seated - filled),
    "annotations_with_missing_ratings": sum(count != given[0] for count in ratings),
    "drafts_of_submitted_tasks": sum(
        Annotation.objects.filter(task=draft.task_id, annotator=draft.annotator_id).exists()
        for draft in Draft.objects.all()
    ),
}
"""
DRAFTS = """
from labelapp.models import Draft
found = [
    [draft.annotator.user.email, draft.task_id, draft.content["ranking"]]
    for draft in Draft.objects.select_related("annotator__user")
]
"""
NOTHING_HALF = {
    "filled_without_annotation": 0,
    "annotation_without_filled_seat": 0,
    "annotations_with_missing_ratings": 0,
    "drafts_of_submitted_tasks": 0,
}


def people_of(stack: Stack, emails: list[str], record: Record) -> list[Labeler]:
    """Labelers who repeat each request until the server answers."""
    return [
        Labeler(email, PASSWORD, slug=SLUG, host="127.0.0.1", port=stack.port, record=record, retry=True)
        for email in emails
    ]


async def label_all(person: Labeler, kills: asyncio.Task[None]) -> None:
    """Label with a draft before each submit, until nothing is left; unhurried while the kills go on."""
    while True:
        task = await person.next_task()
        if task is None and not person.may_come_back:
            return
        if task is None:
            await asyncio.sleep(0.3)
            continue
        await person.draft(task, " ".join(reversed(task.letters)), 1)
        await asyncio.sleep(random.uniform(0, 0.2) if kills.done() else random.uniform(0.5, 2))
        await person.submit(task)


async def kill_one_after_another(stack: Stack) -> None:
    """Each kind of process, then everything with `up` itself, which is started again."""
    for word in ("uvicorn", "celery", "redis-server", "postgres"):
        await asyncio.sleep(2)
        assert stack.kill(word) > 0, word
        await asyncio.to_thread(wait_for, f"http://127.0.0.1:{stack.port}/health", 60)
    await asyncio.sleep(2)
    stack.kill_everything()
    await asyncio.to_thread(stack.start)


def test_nothing_acknowledged_is_lost_whatever_is_killed(stack: Stack) -> None:
    record = Record()
    emails = stack.python(BUILD, 6, 150, 2, 3)

    async def work() -> None:
        people = people_of(stack, emails, record)
        for person in people:
            await person.sign_in()
        kills = asyncio.create_task(kill_one_after_another(stack))
        await asyncio.gather(*(label_all(person, kills) for person in people))
        assert kills.done(), "the labels ran out before the kills did"
        await kills

    asyncio.run(work())
    assert record.errors == []
    assert stack.python(COUNTS, record.submitted, 2) == {
        "duplicates": 0,
        "short": 0,
        "lost": 0,
        "stranded": 0,
        "surplus": 0,
    }
    assert stack.python(HALF_STATES, 3) == NOTHING_HALF


def test_saved_drafts_survive_the_death_of_everything(stack: Stack) -> None:
    record = Record()
    emails = stack.python(BUILD, 4, 8, 1, 3)

    async def draft_and_die() -> None:
        for person in people_of(stack, emails, record):
            await person.sign_in()
            task = await person.next_task()
            assert task is not None
            await person.draft(task, f"{task.letters[1]} {task.letters[0]}", 1)

    asyncio.run(draft_and_die())
    stack.kill_everything()
    stack.start()
    kept = {(email, task): ranking for email, task, ranking in stack.python(DRAFTS)}
    assert kept == record.drafts
    assert len(kept) == 4


def test_24_kills_during_submit_leave_no_double_and_nothing_half_done(stack: Stack) -> None:
    record, chance = Record(), random.Random(24)
    emails = stack.python(BUILD, 1, 24, 1, 3)

    async def submit_while_killed(kill: Callable[[], int]) -> int:
        [person] = people_of(stack, emails, record)
        await person.sign_in()
        killed = 0
        while task := await person.next_task():
            # The next task came with the last answer: without a request, nobody waited for the new processes.
            await asyncio.to_thread(wait_for, f"http://127.0.0.1:{stack.port}/health", 60)
            submit = asyncio.create_task(person.submit(task))
            await asyncio.sleep(chance.uniform(0, 0.06))
            killed += kill() > 0
            assert await submit
        return killed

    # The processes that answer; uvicorn's own supervisor puts new ones in their place.
    assert asyncio.run(submit_while_killed(lambda: stack.kill("multiprocessing.spawn"))) == 24
    counts = stack.python(COUNTS, record.submitted, 1)
    assert counts == {"duplicates": 0, "short": 0, "lost": 0, "stranded": 0, "surplus": 0}
    assert stack.python(HALF_STATES, 3) == NOTHING_HALF


def test_ctrl_c_stops_everything(stack: Stack) -> None:
    processes = stack.processes()
    assert len(processes) > 6
    assert stack.stop() == 0
    assert [pid for pid in processes if pid in stack.processes()] == []
