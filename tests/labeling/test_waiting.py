"""Somebody for whom there is no task now: the page asks whether one has come, and takes none."""

from collections.abc import Callable
from typing import Any

import pytest
from django.test import Client

from labelapp.labeling.selectors import task_waits
from labelapp.labeling.services.seats import seat_take, task_skip
from labelapp.models import Annotator, Batch, Pool, Project, Protocol, Seat, TaskSkip, User
from tests.factories import batch_with_tasks

ClientOf = Callable[[User], Client]


def test_who_waits_is_told_of_a_task_and_given_none(
    client_of: ClientOf, lena: User, project: Project, protocol: Protocol
) -> None:
    client, waiting = client_of(lena), "/projects/garden-helper/label/waiting/"
    assert client.get(waiting).status_code == 204
    batch_with_tasks(project, protocol, tasks=1)
    response = client.get(waiting)
    assert response.status_code == 286  # htmx stops asking
    assert 'href="/projects/garden-helper/label/"' in response.content.decode()
    assert not Seat.objects.exclude(state=Seat.State.OPEN).exists()


@pytest.mark.parametrize(
    ("prompt", "person", "state", "found"),
    [
        ({}, {}, "open", True),
        ({}, {}, "paused", False),
        ({"language": "de"}, {}, "open", False),
        ({"language": "de"}, {"languages": ["de"]}, "open", True),
        ({"sensitivity": ["gore"]}, {}, "open", False),
        ({"sensitivity": ["gore"]}, {"accepts_sensitive": ["gore"]}, "open", True),
    ],
)
def test_waiting_and_taking_agree(
    annotator: Annotator,
    project: Project,
    protocol: Protocol,
    prompt: dict[str, Any],
    person: dict[str, Any],
    state: str,
    found: bool,
) -> None:
    batch = batch_with_tasks(project, protocol, tasks=1)
    Batch.objects.update(state=state)
    Pool.objects.filter(batch=batch).update(**prompt)
    for field, value in person.items():
        setattr(annotator, field, value)
    annotator.save()
    assert task_waits(annotator=annotator) == found
    assert (seat_take(annotator_id=annotator.pk) is not None) == found
    assert task_waits(annotator=annotator) == found


def test_nobody_waits_for_what_they_skipped(annotator: Annotator, project: Project, protocol: Protocol) -> None:
    batch = batch_with_tasks(project, protocol, tasks=1)
    task_skip(annotator_id=annotator.pk, task=batch.tasks.get(), reason=TaskSkip.Reason.OTHER)
    assert not task_waits(annotator=annotator)
