"""Freezing labels in tests, and reading what came of it."""

from collections import Counter
from datetime import timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

from labelapp.datasets.freeze_options import FreezeOptions
from labelapp.datasets.snapshots import freeze_begin, snapshot_localise
from labelapp.jobs.execution import job_execute
from labelapp.models import Annotation, Batch, ComparisonTask, Demonstration, Job, Project, Protocol, Seat, Snapshot
from tests import factories
from trainer.data import snapshots


def freeze(project: Project, **options: Any) -> Job:
    """Freeze what was submitted, and return the job as it ended."""
    run = freeze_begin(project=project, options=FreezeOptions(**{"minimum_state": "submitted", **options}))
    job_execute(run)
    return Job.objects.get(pk=run.job.pk)


def frozen(project: Project, **options: Any) -> snapshots.Snapshot:
    """Freeze and read the folder."""
    job = freeze(project, **options)
    assert job.state == Job.State.SUCCEEDED, job.message + job.error
    return snapshots.snapshot_read(snapshot_localise(Snapshot.objects.get(pk=job.result["snapshot"])))


def left_out(snapshot: snapshots.Snapshot) -> Counter[str]:
    """How many labels are not in it, by cause."""
    return Counter(snapshot.manifest["counts"]["left_out"])


def annotation_age(said: Annotation | Demonstration, hours: float) -> None:
    """Let a label be so old, which the database would refuse."""
    moment = timezone.now() - timedelta(hours=hours)
    _overrule(f"UPDATE {said._meta.db_table} SET created_at = %s WHERE id = %s", [moment, said.pk])


def split_change(prompt: int, split: str) -> None:
    """Let a prompt be of another split, which the database would refuse."""
    _overrule("UPDATE labelapp_prompt SET split = %s WHERE id = %s", [split, prompt])


def _overrule(statement: str, values: list[object]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        cursor.execute(statement, values)
        cursor.execute("SET session_replication_role = DEFAULT")


def batch_labelled_elsewhere(project: Project, protocol: Protocol, *, tasks: int = 2, k: int = 3) -> Batch:
    """A batch without seats, as imports make them: labels of anybody count."""
    batch = factories.batch_with_tasks(project, protocol, tasks=tasks, k=k)
    Seat.objects.filter(task__batch=batch).delete()
    ComparisonTask.objects.filter(batch=batch).update(overlap=0)
    return batch
