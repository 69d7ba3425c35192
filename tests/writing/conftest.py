"""A batch that asks for answers, and somebody who is seated at one of its tasks."""

import uuid
from collections.abc import Callable
from datetime import timedelta

import pytest
from django.utils import timezone

from labelapp.labeling.services.annotations import Seating
from labelapp.labeling.services.seats import seat_take
from labelapp.models import Annotator, Batch, ComparisonTask, Project, Protocol
from tests.factories import batch_to_write

Seated = Callable[..., Seating]


@pytest.fixture
def batch(project: Project, protocol: Protocol) -> Batch:
    return batch_to_write(project, protocol, tasks=2)


@pytest.fixture
def seated(batch: Batch) -> Seated:
    """Seat somebody at their next task, or only let them have the slip of one."""

    def seated(annotator: Annotator, task: ComparisonTask | None = None) -> Seating:
        if task is None:
            seat = seat_take(annotator_id=annotator.pk, work=Batch.Work.DEMONSTRATION)
            assert seat is not None
            task = seat.task
        opened_at = timezone.now() - timedelta(minutes=10)
        return Seating(task_id=task.pk, annotator_id=annotator.pk, key=uuid.uuid4(), opened_at=opened_at)

    return seated
