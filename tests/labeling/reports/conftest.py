"""A batch of one task that two people label, and somebody beside lena."""

import pytest

from labelapp.models import (
    Annotator,
    Batch,
    ComparisonTask,
    Project,
    Protocol,
)
from tests.factories import batch_with_tasks, labeler_make


@pytest.fixture
def batch(project: Project, protocol: Protocol) -> Batch:
    return batch_with_tasks(project, protocol, tasks=1, overlap=2, shared_overlap=2)


@pytest.fixture
def task(batch: Batch) -> ComparisonTask:
    return batch.tasks.get()


@pytest.fixture
def mia(project: Project) -> Annotator:
    return labeler_make(project, "mia")
