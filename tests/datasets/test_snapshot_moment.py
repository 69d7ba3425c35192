"""A freeze sees one moment, asks the database in bulk, and survives being killed. Real transactions, real processes."""

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from django.db import connection, connections
from django.test.utils import CaptureQueriesContext

from labelapp.datasets import gathering, tasks  # noqa: F401 (registers the job handler)
from labelapp.datasets.freeze_options import FreezeOptions
from labelapp.datasets.snapshots import freeze_begin, snapshot_localise
from labelapp.jobs.execution import job_execute
from labelapp.jobs.services import job_cancel, job_claim, jobs_reap
from labelapp.models import Annotator, Artifact, Demonstration, Job, Project, Protocol, Snapshot, User
from tests import factories
from tests.datasets.freezing import batch_labelled_elsewhere, freeze
from tests.datasets.test_command import environment
from tests.jobs.conftest import age
from trainer.data import snapshots

pytestmark = pytest.mark.usefixtures("own_folders")

ROOT = Path(__file__).resolve().parents[2]
AT_ONCE = FreezeOptions(minimum_state="submitted")
STANDS_STILL = """
import django, time
django.setup()
from dataclasses import replace
from labelapp.datasets.freeze_options import FreezeOptions
from labelapp.datasets.snapshots import freeze_begin, freeze_run
from labelapp.models import Project
def listener(message, done, total):
    print("alive", flush=True)
    time.sleep(120)
run = freeze_begin(project=Project.objects.get(), options=FreezeOptions(minimum_state="submitted"))
freeze_run(replace(run, listener=listener))
"""


@pytest.fixture
def crowd(project: Project, protocol: Protocol) -> Annotator:
    """Somebody who has labelled one task."""
    crowd = factories.external_make(project)
    factories.annotation_make(batch_labelled_elsewhere(project, protocol).tasks.earliest("pk"), crowd)
    return crowd


@pytest.mark.django_db(transaction=True)
def test_what_comes_meanwhile_is_no_part_of_it(project: Project, crowd: Annotator) -> None:
    """The first sign of life comes between labels and demonstrations, from a connection of its own."""
    prompt = factories.prompt_make(project, "Which pear is sweet?")
    seen = []

    def meanwhile(*_: object) -> None:
        if not seen:
            seen.append(threading.get_ident())
            Demonstration.objects.create(prompt=prompt, annotator=crowd, text="The ripe one.", text_hash="1")

    run = freeze_begin(project=project, options=AT_ONCE)
    job_execute(replace(run, listener=meanwhile))
    job = Job.objects.get(pk=run.job.pk)
    assert job.state == Job.State.SUCCEEDED, job.message + job.error
    assert Demonstration.objects.count() == 1
    assert seen != [threading.get_ident()]
    read = snapshots.snapshot_read(snapshot_localise(Snapshot.objects.get()))
    assert (len(read.comparisons), read.demonstrations) == (1, [])
    assert len(freeze(project).result["counts"]["splits"]["demonstrations"]) == 1


@pytest.mark.django_db(transaction=True)
def test_a_freeze_stops_when_asked(project: Project, crowd: Annotator, omar: User, tmp_path: Path) -> None:
    run = freeze_begin(project=project, options=AT_ONCE)
    job_cancel(job=run.job, actor=omar)
    job_execute(run)
    assert Job.objects.get(pk=run.job.pk).state == Job.State.CANCELLED
    assert not Snapshot.objects.exists()
    assert not Artifact.objects.exists()
    assert list((tmp_path / "runs").iterdir()) == []


@pytest.fixture
def killed(transactional_db: None, project: Project, crowd: Annotator, tmp_path: Path) -> Iterator[None]:
    """A freeze whose process was killed in its midst."""
    folders = {"PREFLOOP_ARTIFACTS": str(tmp_path / "artifacts"), "PREFLOOP_RUNS": str(tmp_path / "runs")}
    settings = {"DJANGO_SETTINGS_MODULE": "labelapp.settings"}
    worker = subprocess.Popen(
        [sys.executable, "-c", STANDS_STILL], cwd=ROOT, env=environment(**folders, **settings), stdout=subprocess.PIPE
    )
    try:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"alive\n"
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    yield
    connections.close_all()


def test_a_killed_freeze_is_begun_again_and_leaves_nothing_behind(killed: None, tmp_path: Path) -> None:
    job = Job.objects.get()
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [f"freeze-{job.pk}-1"]
    assert (job.state, Snapshot.objects.count(), Artifact.objects.count()) == (Job.State.RUNNING, 0, 0)
    age(job, 100)
    assert jobs_reap() == 1
    run = job_claim(job.pk)
    assert run is not None
    job_execute(run)
    job.refresh_from_db()
    assert (job.state, job.attempt) == (Job.State.SUCCEEDED, 2), job.message
    assert list((tmp_path / "runs").iterdir()) == []
    snapshot = Snapshot.objects.get()
    assert Artifact.objects.get() == snapshot.folder
    assert len(snapshots.snapshot_read(snapshot_localise(snapshot)).comparisons) == 1


@pytest.mark.django_db
def test_the_queries_of_a_freeze_do_not_grow_with_the_labels(project: Project, protocol: Protocol) -> None:
    annotators = [factories.external_make(project, f"crowd-{number}") for number in range(3)]
    counts = []
    for tasks_more in (1, 20):
        for task in batch_labelled_elsewhere(project, protocol, tasks=tasks_more).tasks.all():
            for annotator in annotators:
                factories.annotation_make(task, annotator)
        with CaptureQueriesContext(connection) as queries:
            assert freeze(project).state == Job.State.SUCCEEDED
        counts.append(len(queries))
    # The first one makes the pseudonyms: one statement more, its savepoint, and another look.
    assert counts[0] - 4 <= counts[1] <= counts[0]
