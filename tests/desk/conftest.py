"""A task that lena holds, with which the desk begins."""

import pytest

from labelapp.labeling.services.seats import seat_take
from labelapp.models import Annotator, ComparisonTask, Project, Protocol
from tests import factories


@pytest.fixture
def held(project: Project, protocol: Protocol, annotator: Annotator) -> ComparisonTask:
    """The task that lena is at work on."""
    factories.batch_with_tasks(project, protocol, tasks=2, k=2, name="Pears")
    seat = seat_take(annotator_id=annotator.pk)
    assert seat is not None
    return seat.task
