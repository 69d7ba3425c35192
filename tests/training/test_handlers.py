"""A run from its start to its model, in every way that it can be broken off. The trainers are real processes."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from django.db import connection
from pytest_django.fixtures import Settings

from labelapp.artifacts.services import artifact_localise
from labelapp.jobs.execution import job_execute
from labelapp.jobs.registry import JobLostError, JobRun
from labelapp.jobs.services import job_claim
from labelapp.models import Artifact, AuditEntry, Job, ModelVersion, Project, Run, RunEvent, Snapshot
from labelapp.training.services import events_take, run_finish, run_folder, run_resume, run_rewind
from tests.jobs.trainers import environment_of, is_alive, pid_in, stand_in, wait_until

WORKER = """
import django, sys
django.setup()
from pathlib import Path
from django.conf import settings
import labelapp.training.tasks
from labelapp.jobs.execution import job_execute
from labelapp.jobs.services import job_claim
settings.RUN_ROOT, settings.ARTIFACT_ROOT = Path(sys.argv[2]) / "runs", Path(sys.argv[2]) / "artifacts"
settings.TRAINER_COMMAND = sys.argv[3:]
job_execute(job_claim(int(sys.argv[1])))
"""


def work(job: Job) -> Job:
    """What a worker does with a waiting job."""
    claimed = claim(job)
    job_execute(claimed)
    job.refresh_from_db()
    return job


def claim(job: Job) -> JobRun:
    claimed = job_claim(job.pk)
    assert claimed is not None
    return claimed


def back_to_the_queue(job: Job) -> None:
    """What the reaper does with the job of a dead worker."""
    Job.objects.filter(pk=job.pk).update(state=Job.State.QUEUED)


def steps_of(run: Run) -> list[int]:
    return list(RunEvent.objects.filter(run=run, kind="train").order_by("pk").values_list("step", flat=True))


def log_line(folder: Path, step: int, total: int = 9) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "events.jsonl").open("a") as file:
        line = {"kind": "train", "step": step, "total": total, "values": {"loss": 1 / step, "accuracy": 0.5}}
        file.write(json.dumps(line) + "\n")


def checkpoint(folder: Path, step: int) -> None:
    path = folder / f"checkpoints/step-{step}"
    path.mkdir(parents=True)
    offset = (folder / "events.jsonl").stat().st_size
    (path / "state.json").write_text(json.dumps({"events_offset": offset, "outputs_offset": 0}))


def finished(folder: Path) -> None:
    """The folder as the trainer leaves it."""
    (folder / "model").mkdir(parents=True)
    (folder / "model/model.safetensors").write_bytes(b"weights")
    (folder / "log.txt").write_text("done\n")
    (folder / "config.json").write_text('{"command": "reward", "resolved": {"dtype": "float32"}}')
    (folder / "report.json").write_text('{"metrics": {"accuracy": 0.75}}')


def test_a_run_makes_a_model(training: Run, base: ModelVersion) -> None:
    job = work(training.job)
    assert job.state == Job.State.SUCCEEDED, job.message
    training.refresh_from_db()
    model = training.result
    assert model is not None
    assert (model.name, model.kind, model.state, model.parent) == ("Rewards", "reward", "ready", base)
    assert model.weights is not None
    folder = artifact_localise(model.weights, verify=True)
    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors"]
    assert training.report["metrics"] == {"accuracy": 0.75}
    assert training.config["resolved"]["device"] == "cpu"
    assert len(training.code_version) == 64
    assert job.result == {"run": training.pk, "model": model.pk, "log": Artifact.objects.get(kind="log").pk}


def test_a_run_takes_in_every_step_and_leaves_no_folder(training: Run) -> None:
    work(training.job)
    assert steps_of(training) == [1, 2, 3, 4, 5]
    training.job.refresh_from_db()
    assert (training.job.done, training.job.total) == (5, 5)
    assert training.job.message == "Step 5 of 5, loss 0.2, accuracy 0.9"
    assert not run_folder(training).exists()


def test_the_trainer_is_told_what_to_do(training: Run, snapshot: Snapshot, base: ModelVersion) -> None:
    work(training.job)
    training.refresh_from_db()
    assert training.config["command"] == "reward"
    assert training.config["options"]["epochs"] == 2
    assert training.config["model"] == base.location
    assert Path(training.config["snapshot"]) == artifact_localise(snapshot.folder)


def test_the_end_is_in_the_audit_trail(training: Run) -> None:
    work(training.job)
    entry = AuditEntry.objects.get(verb="run_finish")
    assert entry.object_id == training.pk


def test_a_failed_run_shows_what_was_said_last(training: Run, settings: Settings) -> None:
    settings.TRAINER_COMMAND = stand_in("--exit", "2", "--say", "No comparison fits into 8 tokens.")
    job = work(training.job)
    assert job.state == Job.State.FAILED
    assert job.message == "The trainer cannot use what it was given. It last said: No comparison fits into 8 tokens."
    assert job.result["log"] == "No comparison fits into 8 tokens."
    assert not ModelVersion.objects.filter(kind="reward").exists()


def test_a_trainer_that_was_killed_is_continued_by_the_next_attempt(training: Run, settings: Settings) -> None:
    settings.TRAINER_COMMAND = stand_in("--kill-at", "3")
    job = work(training.job)
    assert job.state == Job.State.QUEUED
    assert steps_of(training) == [1, 2, 3]
    assert work(job).state == Job.State.SUCCEEDED
    assert steps_of(training) == [1, 2, 3, 4, 5]


def test_a_run_that_was_given_up_is_resumed_by_another_job(training: Run, settings: Settings) -> None:
    Job.objects.filter(pk=training.job_id).update(max_attempts=1)
    settings.TRAINER_COMMAND = stand_in("--kill-at", "3")
    job = work(training.job)
    assert job.state == Job.State.FAILED
    assert steps_of(training) == [1, 2, 3]
    later = run_resume(run=training, actor=None)
    assert later != job
    assert work(later).state == Job.State.SUCCEEDED
    assert steps_of(training) == [1, 2, 3, 4, 5]
    log = Artifact.objects.get(kind="log")
    assert artifact_localise(log).read_text() == "From step 0\nFrom step 2\n"


def test_a_damaged_snapshot_is_refused(training: Run, snapshot: Snapshot) -> None:
    file = artifact_localise(snapshot.folder) / "comparisons.parquet"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    job = work(training.job)
    assert job.state == Job.State.FAILED
    assert "comparisons.parquet is not what was saved" in job.message + job.error


def test_an_attempt_takes_in_lines_that_a_dead_worker_left(training: Run) -> None:
    """Logged up to step 3, with a checkpoint at 2; the dead worker had taken in step 1 only."""
    folder = run_folder(training)
    log_line(folder, 1)
    first = claim(training.job)
    events_take(attempt=first, run=training, folder=folder)
    log_line(folder, 2)
    checkpoint(folder, 2)
    log_line(folder, 3)
    back_to_the_queue(training.job)
    assert work(training.job).state == Job.State.SUCCEEDED
    assert steps_of(training) == [1, 2, 3, 4, 5]


def test_a_rewind_forgets_what_is_logged_again(training: Run) -> None:
    folder = run_folder(training)
    for step in (1, 2):
        log_line(folder, step)
    checkpoint(folder, 2)
    kept = (folder / "events.jsonl").stat().st_size
    log_line(folder, 3)
    attempt = claim(training.job)
    events_take(attempt=attempt, run=training, folder=folder)
    assert steps_of(training) == [1, 2, 3]
    assert run_rewind(attempt=attempt, run=training, folder=folder) == kept
    assert steps_of(training) == [1, 2]
    training.refresh_from_db()
    assert training.events_offset == kept


def test_a_rewind_without_a_checkpoint_forgets_all(training: Run) -> None:
    attempt, folder = claim(training.job), run_folder(training)
    log_line(folder, 1)
    events_take(attempt=attempt, run=training, folder=folder)
    assert run_rewind(attempt=attempt, run=training, folder=folder) == 0
    assert steps_of(training) == []


def test_rows_of_an_older_attempt_are_refused(training: Run) -> None:
    folder, older = run_folder(training), claim(training.job)
    log_line(folder, 1)
    back_to_the_queue(training.job)
    claim(training.job)
    with pytest.raises(JobLostError):
        events_take(attempt=older, run=training, folder=folder)
    with pytest.raises(JobLostError):
        run_rewind(attempt=older, run=training, folder=folder)
    assert steps_of(training) == []
    training.refresh_from_db()
    assert training.events_offset == 0


def test_an_older_attempt_finishes_nothing(training: Run) -> None:
    folder, older = run_folder(training), claim(training.job)
    finished(folder)
    back_to_the_queue(training.job)
    claim(training.job)
    with pytest.raises(JobLostError):
        run_finish(attempt=older, run=training, folder=folder)
    assert not ModelVersion.objects.filter(kind="reward").exists()


def test_a_crash_between_publishing_and_saving_is_mended(training: Run) -> None:
    """The first attempt published everything and died before its transaction: it had lost the job."""
    folder, older = run_folder(training), claim(training.job)
    finished(folder)
    back_to_the_queue(training.job)
    newer = claim(training.job)
    with pytest.raises(JobLostError):
        run_finish(attempt=older, run=training, folder=folder)
    result = run_finish(attempt=newer, run=training, folder=folder)
    assert ModelVersion.objects.filter(kind="reward").count() == 1
    assert Artifact.objects.filter(kind="model").count() == 1
    training.job.refresh_from_db()
    assert training.job.result == result


def test_a_finished_folder_is_not_trained_again(training: Run) -> None:
    folder = run_folder(training)
    log_line(folder, 1)
    finished(folder)
    assert work(training.job).state == Job.State.SUCCEEDED
    assert steps_of(training) == [1]


def test_a_name_that_was_taken_meanwhile_is_made_another(training: Run, project: Project) -> None:
    ModelVersion.objects.create(project=project, name="Rewards", kind="external")
    assert work(training.job).state == Job.State.SUCCEEDED
    training.refresh_from_db()
    assert str(training.result) == f"Rewards (run {training.pk})"


@pytest.mark.services
@pytest.mark.django_db(transaction=True)
def test_a_cancel_stops_the_trainer_and_keeps_checkpoints(training: Run, places: Path) -> None:
    worker = start_worker(training.job, places, "--steps", "100000", "--pause", "0.02")
    try:
        pid = pid_in(run_folder(training) / "trainer.pid")
        wait_until(lambda: RunEvent.objects.filter(run=training).exists())
        Job.objects.filter(pk=training.job_id).update(cancel_requested=True)
        asked = time.monotonic()
        worker.wait(20)
        assert time.monotonic() - asked < 10
    finally:
        worker.kill()
        worker.wait()
    assert not is_alive(pid)
    training.job.refresh_from_db()
    assert training.job.state == Job.State.CANCELLED
    assert list((run_folder(training) / "checkpoints").glob("step-*"))


@pytest.mark.services
@pytest.mark.django_db(transaction=True)
def test_a_killed_worker_leaves_no_trainer_and_the_next_goes_on(
    training: Run, places: Path, settings: Settings
) -> None:
    worker = start_worker(training.job, places, "--steps", "100000", "--pause", "0.02")
    try:
        pid = pid_in(run_folder(training) / "trainer.pid")
        wait_until(lambda: RunEvent.objects.filter(run=training, step__gte=4).exists())
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    wait_until(lambda: not is_alive(pid))
    newest = max(int(path.name[5:]) for path in (run_folder(training) / "checkpoints").glob("step-*"))
    settings.TRAINER_COMMAND = stand_in("--steps", str(newest + 3))
    back_to_the_queue(training.job)
    assert work(training.job).state == Job.State.SUCCEEDED
    assert steps_of(training) == list(range(1, newest + 4))
    assert training.job.attempt == 2


def start_worker(job: Job, places: Path, *behaviour: str) -> "subprocess.Popen[bytes]":
    """A worker of its own on the test's database, to be killed."""
    connection.ensure_connection()
    info = connection.connection.info
    url = f"postgresql://{info.user}:{info.password}@{quote(info.host, safe='')}:{info.port}/{info.dbname}"
    environment = environment_of(url, places / "var")
    arguments = [str(job.pk), str(places), *stand_in(*behaviour)]
    return subprocess.Popen([sys.executable, "-c", WORKER, *arguments], env=environment)
