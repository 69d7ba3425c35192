"""The trainer as a process beside the worker: started, watched, stopped, and its end told in words."""

import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from django.conf import settings

from labelapp.errors import DomainError
from labelapp.jobs.logs import log_tail
from labelapp.jobs.registry import JobFailedError, JobLostError, JobRetryError, JobRun
from trainer.records import LOG, REQUEST

STOP_SECONDS = 20.0
"""How long a trainer that was told to stop may take, which is at most one step and a checkpoint."""
FREE_SECONDS = 150.0
"""How long another process may hold a folder: one that lost its worker ends itself after a minute."""
LOCK, ATTEMPT = "lock", "attempt"
ATTEMPTS_PER_JOB = 1 << 16
QUOTE_LIMIT = 160
SECRETS = {"DATABASE_URL", "CELERY_BROKER_URL", "PREFLOOP_SECRET_KEY"}
"""Variables that the trainer has no use for."""

STOPPED, TAKEN, REFUSED = 3, 4, 2


def attempt_number(run: JobRun) -> int:
    """The fencing number of a folder: it grows with every attempt, also where a later job continues the work."""
    return run.job.pk * ATTEMPTS_PER_JOB + run.attempt


def trainer_command(command: str, folder: Path, run: JobRun) -> list[str]:
    """How to start a command of the trainer on a folder that holds its request (see `request_write`)."""
    return [
        *settings.TRAINER_COMMAND,
        command,
        *("--output", str(folder)),
        *("--request", str(folder / REQUEST)),
        *("--attempt", str(attempt_number(run))),
        "--watch-stdin",
    ]


@contextmanager
def folder_hold(
    run: JobRun, folder: Path, *, poll: Callable[[], None], patience: float = FREE_SECONDS
) -> Iterator[None]:
    """Have the folder to oneself: what an attempt changes in it before it starts the trainer belongs in this block.

    Older attempts are told to make way; meanwhile `poll` is called about every second. Raises JobLostError when a
    newer attempt has the folder, and DomainError when it is not free in time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _announce(folder / ATTEMPT, attempt_number(run))
    end = time.monotonic() + patience
    lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        while not _locked(lock):
            if time.monotonic() > end:
                raise DomainError(
                    f"Another process still works in {folder}. End it, or wait until it has ended, then start again."
                )
            poll()
            time.sleep(1.0)
        _announce(folder / ATTEMPT, attempt_number(run))
        yield
    finally:
        os.close(lock)


def process_supervise(
    run: JobRun,
    *,
    command: Sequence[str],
    folder: Path,
    poll: Callable[[], None],
    interval: float = 1.0,
    stop_seconds: float = STOP_SECONDS,
) -> None:
    """Run a command of the trainer to its end, with all it says appended to the folder's log.

    Calls `poll` every `interval` seconds and once after the end; it takes in what the trainer wrote and calls
    `job_progress` in its own transaction. Whatever it raises stops the trainer and goes on from here. Returns when
    the command ended well, else raises JobFailedError with what the log said last: JobRetryError when the command did
    not end by itself, since its checkpoints make it safe to go on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log_start = (folder / LOG).stat().st_size if (folder / LOG).exists() else 0
    process = _start(command, folder)
    try:
        while process.poll() is None:
            with suppress(subprocess.TimeoutExpired):
                process.wait(interval)
            poll()
    finally:
        _stop(process, stop_seconds)
    poll()
    if process.returncode:
        raise _failure(process.returncode, folder, log_start)


def _start(command: Sequence[str], folder: Path) -> "subprocess.Popen[bytes]":
    """Start it in a group of its own. Its stdin stays open as long as this process lives: it stops when that ends."""
    environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
    with (folder / LOG).open("ab") as log:
        try:
            process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=settings.BASE_DIR,
                env=environment,
                start_new_session=True,
            )
        except OSError as error:
            raise DomainError(f"{command[0]} cannot be started ({error.strerror}). Check PREFLOOP_TRAINER.") from error
    # Where memory runs out, the kernel is to take the trainer and not the worker.
    with suppress(OSError):
        Path(f"/proc/{process.pid}/oom_score_adj").write_text("500")
    return process


def _stop(process: "subprocess.Popen[bytes]", stop_seconds: float) -> None:
    """Ask it to stop, wait, and kill what is left of its group."""
    if process.stdin:
        process.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        process.wait(stop_seconds)
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _failure(code: int, folder: Path, log_start: int) -> JobFailedError:
    """What a bad end means, for people: what happened, what was said, what to do."""
    tail = log_tail(folder, start=log_start)
    said = tail.rsplit("\n", 1)[-1][:QUOTE_LIMIT]
    quote = f" It last said: {said}{'' if said[-1] in '.!?' else '.'}" if said else ""
    result: dict[str, object] = {"log": tail, "exit_code": code}
    if code == STOPPED or code < 0:
        return JobRetryError(*_ended_from_outside(code, quote), result)
    if code == REFUSED:
        message = f"The trainer cannot use what it was given.{quote}"
    elif code == TAKEN:
        message = f"Another process works in {folder}. Wait until it has ended, then start again."
    else:
        message = f"The trainer failed (exit code {code}).{quote} Mend what it names, then start again."
    return JobFailedError(message, result)


def _ended_from_outside(code: int, quote: str) -> tuple[str, str]:
    """What happened to a trainer that did not end by itself, and what to do should it go on happening."""
    again = "start again: it goes on from its last checkpoint, where it has one."
    if code == STOPPED:
        return "The trainer was stopped from outside.", f"Nothing is lost: {again}"
    if code == -signal.SIGKILL:
        return (
            "The trainer was killed, most often because memory ran out.",
            f"Take fewer at once (micro_tokens or batch_size) or shorter texts (max_length), or {again}",
        )
    return f"The trainer was ended by signal {-code}.{quote}", again.capitalize()


def _announce(path: Path, number: int) -> None:
    """Write the attempt number where running attempts look. Raises JobLostError when a newer one stands there."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        text = os.read(descriptor, 64).strip()
        if text and int(text) > number:
            raise JobLostError
        os.pwrite(descriptor, f"{number:020d}\n".encode(), 0)
    finally:
        os.close(descriptor)


def _locked(lock: int) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
