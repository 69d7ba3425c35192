"""The trainer as a process beside the worker. Every trainer here is a real process."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from pytest_django.fixtures import Settings

from labelapp.errors import DomainError
from labelapp.jobs.logs import lines_read, log_tail, request_write
from labelapp.jobs.registry import JobCancelledError, JobFailedError, JobLostError, JobRetryError, JobRun
from labelapp.jobs.supervision import attempt_number, folder_hold, process_supervise, trainer_command
from tests.jobs.trainers import environment_of, is_alive, pid_in, stand_in, wait_until

WORKER = """
import django, sys
django.setup()
from pathlib import Path
from labelapp.jobs.registry import JobRun
from labelapp.jobs.supervision import process_supervise, trainer_command
from labelapp.models import Job
from django.conf import settings
settings.TRAINER_COMMAND = sys.argv[2:]
folder, run = Path(sys.argv[1]), JobRun(job=Job(pk=1), attempt=1)
process_supervise(run, command=trainer_command("reward", folder, run), folder=folder, poll=lambda: None)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run-1"
    request_write(folder, {"command": "reward", "options": {}, "model": "tiny"})
    return folder


def supervise(run: JobRun, folder: Path, polls: list[int] | None = None, interval: float = 0.05) -> None:
    seen = polls if polls is not None else []
    command = trainer_command("reward", folder, run)
    process_supervise(run, command=command, folder=folder, poll=lambda: seen.append(1), interval=interval)


def test_it_runs_a_command_to_its_end(run: JobRun, folder: Path, settings: Settings) -> None:
    settings.TRAINER_COMMAND = stand_in("--steps", "4", "--pause", "0.1")
    polls: list[int] = []
    supervise(run, folder, polls)
    assert json.loads((folder / "report.json").read_text())["command"] == "reward"
    assert (folder / "log.txt").read_text() == "From step 0\n"
    assert len(polls) > 3


def test_it_polls_after_the_end(run: JobRun, folder: Path, settings: Settings) -> None:
    settings.TRAINER_COMMAND = stand_in()
    reports: list[bool] = []
    process_supervise(
        run,
        command=trainer_command("reward", folder, run),
        folder=folder,
        poll=lambda: reports.append((folder / "report.json").exists()),
        interval=60,
    )
    assert reports[-1] is True


def test_the_command_names_folder_request_and_attempt(run: JobRun, folder: Path, settings: Settings) -> None:
    settings.TRAINER_COMMAND = ["trainer"]
    assert trainer_command("sft", folder, run) == [
        *["trainer", "sft", "--output", str(folder), "--request", str(folder / "request.json")],
        *["--attempt", str(attempt_number(run)), "--watch-stdin"],
    ]


def test_a_later_job_has_a_higher_attempt_number(run: JobRun) -> None:
    late = JobRun(job=run.job, attempt=run.attempt + 300)
    other = JobRun(job=type(run.job)(pk=run.job.pk + 1), attempt=1)
    assert attempt_number(run) < attempt_number(late) < attempt_number(other)


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("1", r"failed \(exit code 1\)\. It last said: a pear fell\. Mend"),
        ("2", r"cannot use what it was given\. It last said: a pear fell"),
        ("4", "Another process works in"),
    ],
)
def test_a_bad_end_says_what_to_do(run: JobRun, folder: Path, settings: Settings, code: str, words: str) -> None:
    settings.TRAINER_COMMAND = stand_in("--exit", code, "--say", "a pear fell")
    with pytest.raises(JobFailedError, match=words) as failure:
        supervise(run, folder)
    assert failure.value.result == {"log": "a pear fell", "exit_code": int(code)}
    assert not isinstance(failure.value, JobRetryError)


@pytest.mark.parametrize(
    ("number", "code", "happened", "advice"),
    [
        (signal.SIGKILL, -9, "killed, most often because memory ran out.", "Take fewer at once"),
        (signal.SIGTERM, -15, "ended by signal 15. It last said: From step 0.", "Start again: it goes on"),
    ],
)
def test_a_trainer_ended_from_outside_may_be_tried_again(
    run: JobRun, folder: Path, settings: Settings, number: int, code: int, happened: str, advice: str
) -> None:
    settings.TRAINER_COMMAND = stand_in("--steps", "10000", "--pause", "0.05")

    def poll() -> None:
        if (folder / "events.jsonl").exists() and is_alive(pid_in(folder / "trainer.pid")):
            os.kill(pid_in(folder / "trainer.pid"), number)

    command = trainer_command("reward", folder, run)
    with pytest.raises(JobRetryError) as failure:
        process_supervise(run, command=command, folder=folder, poll=poll, interval=0.05)
    assert failure.value.happened == f"The trainer was {happened}"
    assert failure.value.message.startswith(f"{failure.value.happened} {advice}")
    assert failure.value.result == {"log": "From step 0", "exit_code": code}


def test_a_trainer_that_stops_unasked_may_be_tried_again(run: JobRun, folder: Path, settings: Settings) -> None:
    settings.TRAINER_COMMAND = stand_in("--exit", "3")
    with pytest.raises(JobRetryError, match=r"was stopped from outside\. Nothing is lost"):
        supervise(run, folder)


def test_only_this_attempts_words_are_quoted(run: JobRun, folder: Path, settings: Settings) -> None:
    (folder / "log.txt").write_text("an older failure\n")
    settings.TRAINER_COMMAND = stand_in("--exit", "1")
    with pytest.raises(JobFailedError) as failure:
        supervise(run, folder)
    assert "older" not in failure.value.message
    assert failure.value.result["log"] == ""


def test_a_program_that_is_missing_is_named(run: JobRun, folder: Path, settings: Settings) -> None:
    settings.TRAINER_COMMAND = ["/no/such/trainer"]
    with pytest.raises(DomainError, match=r"/no/such/trainer cannot be started"):
        supervise(run, folder)


def test_a_cancel_stops_it_within_seconds(run: JobRun, folder: Path, settings: Settings) -> None:
    settings.TRAINER_COMMAND = stand_in("--steps", "10000", "--pause", "0.05")

    def poll() -> None:
        if (folder / "checkpoints/step-2").exists():
            raise JobCancelledError

    began = time.monotonic()
    with pytest.raises(JobCancelledError):
        process_supervise(run, command=trainer_command("reward", folder, run), folder=folder, poll=poll, interval=0.05)
    assert time.monotonic() - began < 10
    assert not is_alive(pid_in(folder / "trainer.pid"))
    assert list((folder / "checkpoints").glob("step-*"))
    assert not (folder / "report.json").exists()


def test_a_trainer_that_does_not_stop_is_killed_with_its_children(
    run: JobRun, folder: Path, settings: Settings
) -> None:
    settings.TRAINER_COMMAND = stand_in("--steps", "10000", "--pause", "0.05", "--deaf", "--child")

    def poll() -> None:
        if (folder / "events.jsonl").exists():
            raise JobCancelledError

    command = trainer_command("reward", folder, run)
    with pytest.raises(JobCancelledError):
        process_supervise(run, command=command, folder=folder, poll=poll, interval=0.05, stop_seconds=0.5)
    wait_until(lambda: not is_alive(pid_in(folder / "trainer.pid")))
    wait_until(lambda: not is_alive(pid_in(folder / "child.pid")))


def test_what_a_command_leaves_behind_is_killed(run: JobRun, folder: Path, settings: Settings) -> None:
    settings.TRAINER_COMMAND = stand_in("--child")
    supervise(run, folder)
    wait_until(lambda: not is_alive(pid_in(folder / "child.pid")))


@pytest.mark.services
def test_a_killed_worker_leaves_no_trainer(folder: Path, tmp_path: Path) -> None:
    """The worker is a process of its own, killed with SIGKILL: nothing in it can clean up."""
    trainer = stand_in("--steps", "100000", "--pause", "0.05")
    environment = environment_of("postgresql://nobody@127.0.0.1:1/none", tmp_path)
    worker = subprocess.Popen([sys.executable, "-c", WORKER, str(folder), *trainer], env=environment)
    try:
        pid = pid_in(folder / "trainer.pid")
        wait_until(lambda: (folder / "checkpoints/step-2").exists())
        assert is_alive(pid)
    finally:
        worker.send_signal(signal.SIGKILL)
        worker.wait()
    wait_until(lambda: not is_alive(pid))
    assert not (folder / "report.json").exists()


def test_the_trainer_is_not_told_the_secrets(
    run: JobRun, folder: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://app:secret@db/app")
    monkeypatch.setenv("HF_HOME", "/models")
    program = "import os; print(sorted({'DATABASE_URL', 'HF_HOME'} & os.environ.keys()))"
    command = [sys.executable, "-c", program]
    process_supervise(run, command=command, folder=folder, poll=lambda: None)
    assert log_tail(folder) == "['HF_HOME']"


def test_it_waits_until_the_folder_is_free(run: JobRun, folder: Path) -> None:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    threading.Timer(0.5, lambda: os.close(descriptor)).start()
    polls: list[int] = []
    with folder_hold(run, folder, poll=lambda: polls.append(1)):
        assert polls
    assert int((folder / "attempt").read_text()) == attempt_number(run)


def test_a_folder_that_does_not_become_free_is_named(run: JobRun, folder: Path) -> None:
    descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    taken = folder_hold(run, folder, poll=lambda: None, patience=0)
    with pytest.raises(DomainError, match="Another process still works in"), taken:
        pass
    os.close(descriptor)


def test_an_older_attempt_does_not_take_the_number_back(run: JobRun, folder: Path) -> None:
    newer = JobRun(job=run.job, attempt=run.attempt + 1)
    with folder_hold(newer, folder, poll=lambda: None):
        pass
    with pytest.raises(JobLostError), folder_hold(run, folder, poll=lambda: None):
        pass
    assert int((folder / "attempt").read_text()) == attempt_number(newer)


def test_lines_are_read_when_they_are_complete(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    assert lines_read(path, 0) == ([], 0)
    path.write_bytes(b'{"step": 1}\n{"step": 2}\n{"st')
    lines, offset = lines_read(path, 0)
    assert lines == [{"step": 1}, {"step": 2}]
    with path.open("ab") as file:
        file.write(b'ep": 3}\n')
    assert lines_read(path, offset) == ([{"step": 3}], path.stat().st_size)


def test_lines_are_read_in_portions_whatever_their_length(tmp_path: Path) -> None:
    path = tmp_path / "outputs.jsonl"
    path.write_text("".join(json.dumps({"text": "pear \u2028" * n}, ensure_ascii=False) + "\n" for n in (1, 100, 2)))
    read, offset = [], 0
    while (portion := lines_read(path, offset, 64)) != ([], offset):
        lines, offset = portion
        read += lines
    assert [line["text"].count("pear") for line in read] == [1, 100, 2]


def test_a_damaged_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    path.write_bytes(b'{"step": 1}\nnot json\n')
    with pytest.raises(DomainError, match=r"events\.jsonl is damaged"):
        lines_read(path, 0)


def test_the_tail_shows_what_a_screen_would(tmp_path: Path) -> None:
    (tmp_path / "log.txt").write_bytes(b"one\n\n 10%|#  \r 50%|## \r100%|###\r\n\x00two \xff\n")
    assert log_tail(tmp_path) == "one\n100%|###\n\ufffdtwo \ufffd"
    assert log_tail(tmp_path, lines=1) == "\ufffdtwo \ufffd"
    assert log_tail(tmp_path / "nowhere") == ""
