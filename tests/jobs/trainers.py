"""Trainers that tests start: real processes, small."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.jobs import stand_in_trainer


def stand_in(*behaviour: str) -> list[str]:
    """A TRAINER_COMMAND that behaves as told; see stand_in_trainer.py."""
    return [sys.executable, str(stand_in_trainer.__file__), *behaviour]


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_until(holds: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait until something holds; fail when it does not come."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "It did not come to hold in time."
        time.sleep(0.02)


def pid_in(path: Path) -> int:
    """The process id that a file holds, once it does."""
    wait_until(lambda: path.exists() and path.read_text().strip() != "")
    return int(path.read_text())


def environment_of(database_url: str, var: Path) -> dict[str, str]:
    """For a worker of its own."""
    return os.environ | {
        "DATABASE_URL": database_url,
        "DJANGO_SETTINGS_MODULE": "tests.settings",
        "PREFLOOP_VAR": str(var),
    }
