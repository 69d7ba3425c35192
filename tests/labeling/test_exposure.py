"""Nobody is shown sensitive content for too long, and ordinary tasks go on meanwhile."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

import pytest
from django.utils import timezone

from labelapp.labeling.selectors import task_waits
from labelapp.labeling.services.exposure import DAY_LIMIT, PAUSE, STRETCH_LIMIT, exposure_add, exposure_limited
from labelapp.labeling.services.seats import seat_reserve, seat_show, seat_take, seat_transition, task_skip
from labelapp.models import Annotator, Exposure, Pool, Project, Prompt, Protocol, Seat, TaskSkip
from tests.factories import batch_with_tasks
from tests.labeling.acts import take

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


class Clock:
    """What time it is said to be."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def later(self, **by: float) -> None:
        self.now += timedelta(**by)


@pytest.fixture
def clock() -> Iterator[Clock]:
    clock = Clock()
    with patch("django.utils.timezone.now", clock):
        yield clock


def see(annotator: Annotator, minutes: float) -> None:
    exposure_add(annotator_id=annotator.pk, seconds=round(minutes * 60))


def limited(annotator: Annotator, clock: Clock) -> bool:
    return exposure_limited(Annotator.objects.get(pk=annotator.pk), clock.now)


def opted_in(annotator: Annotator) -> Annotator:
    Annotator.objects.filter(pk=annotator.pk).update(accepts_sensitive=["hate"])
    annotator.refresh_from_db()
    return annotator


def sensitive_batch(project: Project, protocol: Protocol, **plan: Any) -> None:
    batch = batch_with_tasks(project, protocol, **plan)
    Pool.objects.filter(batch=batch).update(sensitivity=["hate"])
    Prompt.objects.filter(tasks__batch=batch).update(sensitivity=["hate"])


def test_who_has_seen_nothing_is_not_limited(annotator: Annotator, clock: Clock) -> None:
    assert not limited(annotator, clock)


@pytest.mark.parametrize(("minutes", "enough"), [(24.9, False), (25, True)])
def test_a_stretch_ends_after_25_minutes(annotator: Annotator, clock: Clock, minutes: float, enough: bool) -> None:
    see(annotator, 10)
    clock.later(minutes=minutes - 10)
    see(annotator, minutes - 10)
    assert limited(annotator, clock) == enough


def test_a_pause_of_15_minutes_ends_it(annotator: Annotator, clock: Clock) -> None:
    see(annotator, 25)
    clock.later(minutes=14)
    assert limited(annotator, clock)
    clock.later(minutes=1)
    assert not limited(annotator, clock)
    clock.later(minutes=5)
    see(annotator, 5)
    assert Exposure.objects.get().stretch_seconds == 5 * 60


def test_time_on_a_task_is_no_pause(annotator: Annotator, clock: Clock) -> None:
    """Twenty minutes on one task lie between two notes, and not one without the content."""
    see(annotator, 5)
    clock.later(minutes=20)
    see(annotator, 20)
    assert Exposure.objects.get().stretch_seconds == 25 * 60
    assert limited(annotator, clock)


def test_120_minutes_are_a_days_most(annotator: Annotator, clock: Clock) -> None:
    for _ in range(6):
        see(annotator, 20)
        clock.later(minutes=36)
    assert limited(annotator, clock)
    assert Exposure.objects.get().stretch_seconds == 20 * 60


def test_the_next_day_begins_anew(annotator: Annotator, clock: Clock) -> None:
    see(annotator, 120)
    clock.later(hours=23)
    assert not limited(annotator, clock)
    see(annotator, 1)
    assert Exposure.objects.get().seconds_today == 60


def test_a_negative_time_is_none(annotator: Annotator, clock: Clock) -> None:
    see(annotator, -5)
    assert Exposure.objects.get().seconds_today == 0


def test_the_limits_are_those_of_the_specification() -> None:
    assert tuple(timedelta(minutes=number) for number in (25, 120, 15)) == (STRETCH_LIMIT, DAY_LIMIT, PAUSE)


def test_beyond_the_limit_ordinary_tasks_go_on(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    opted_in(annotator)
    sensitive_batch(project, protocol, tasks=2, name="Harsh", priority=5)
    batch_with_tasks(project, protocol, tasks=2, name="Mild")
    see(annotator, 25)
    assert take(annotator).pool.batch.name == "Mild"
    ahead = seat_reserve(annotator_id=annotator.pk)
    assert ahead is not None
    assert ahead.pool.batch.name == "Mild"


def test_beyond_the_limit_nothing_waits_where_all_is_sensitive(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    opted_in(annotator)
    sensitive_batch(project, protocol, tasks=2)
    assert task_waits(annotator=annotator)
    see(annotator, 25)
    assert not task_waits(annotator=annotator)
    assert seat_take(annotator_id=annotator.pk) is None


def test_after_the_pause_sensitive_tasks_come_again(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    opted_in(annotator)
    sensitive_batch(project, protocol, tasks=2)
    see(annotator, 25)
    Exposure.objects.update(last_at=timezone.now() - PAUSE)
    assert take(annotator).pool.sensitivity == ["hate"]


def test_a_task_at_work_may_be_finished(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    opted_in(annotator)
    sensitive_batch(project, protocol, tasks=2)
    held = take(annotator)
    see(annotator, 25)
    assert take(annotator).pk == held.pk


def test_a_reserved_one_is_not_begun(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    opted_in(annotator)
    sensitive_batch(project, protocol, tasks=2)
    held = take(annotator)
    ahead = seat_reserve(annotator_id=annotator.pk)
    assert ahead is not None
    see(annotator, 25)
    seat_transition(Seat.objects.filter(pk=held.pk), Seat.State.FILLED, lease_until=None)
    assert seat_show(annotator_id=annotator.pk, task_id=ahead.task_id) is None
    assert Seat.objects.get(pk=ahead.pk).state == Seat.State.OPEN


def test_skipping_sensitive_content_counts_the_time_it_was_shown(
    annotator: Annotator, project: Project, protocol: Protocol
) -> None:
    opted_in(annotator)
    sensitive_batch(project, protocol, tasks=1)
    seat = take(annotator)
    Seat.objects.update(held_at=timezone.now() - timedelta(seconds=40))
    task_skip(annotator_id=annotator.pk, task=seat.task, reason=TaskSkip.Reason.DISTRESSING)
    assert 40 <= Exposure.objects.get().seconds_today <= 45


def test_skipping_ordinary_content_counts_none(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch_with_tasks(project, protocol, tasks=1)
    task_skip(annotator_id=annotator.pk, task=take(annotator).task, reason=TaskSkip.Reason.UNCLEAR)
    assert not Exposure.objects.exists()


def test_the_limits_cost_no_statement_more(
    annotator: Annotator, project: Project, protocol: Protocol, django_assert_num_queries: Any
) -> None:
    opted_in(annotator)
    sensitive_batch(project, protocol, tasks=1)
    see(annotator, 1)
    with django_assert_num_queries(3):
        take(annotator)
