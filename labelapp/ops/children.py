"""One child process: what to run, how it is started on its leash, what it wrote, how it ended."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from labelapp.ops.leash import leashed
from labelapp.ops.log import LineBuffer

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
STEADY_SECONDS = 60.0
READ_BYTES = 65536
CHUNKS_PER_TURN = 16


def nothing() -> None:
    """Do nothing before a start."""


@dataclass(frozen=True)
class Program:
    """What to run. Stages are stopped from the highest down; within one, all at the same time."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    folder: Path
    stage: int = 1
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    identity: str = "self"
    ready_word: str = ""  # it is ready once a line has this and "ready" in it
    prepare: Callable[[], None] = nothing


class Backoff:
    """The wait before the next start: 0.5 s, doubling to 30 s, from the start again after a steady minute."""

    def __init__(self) -> None:
        self._delay = FIRST_DELAY

    def after(self, alive_seconds: float) -> float:
        """Return the seconds to wait after a life of this length."""
        if alive_seconds >= STEADY_SECONDS:
            self._delay = FIRST_DELAY
        wait, self._delay = self._delay, min(self._delay * 2, LONGEST_DELAY)
        return wait


class Output:
    """The reading end of what one process writes; outlives the process while others hold the writing end."""

    def __init__(self, child: "Child", stream: IO[bytes]) -> None:
        self.child = child
        self.stream = stream
        self._buffer = LineBuffer()
        os.set_blocking(self.stream.fileno(), False)

    def read(self) -> tuple[list[str], bool]:
        """Return the lines that are there, and whether there can be more."""
        lines: list[str] = []
        with suppress(BlockingIOError):
            for _ in range(CHUNKS_PER_TURN):
                chunk = os.read(self.stream.fileno(), READ_BYTES)
                lines += self._buffer.feed(chunk) if chunk else self._buffer.flush()
                if not chunk:
                    return lines, False
        return lines, True


class Child:
    """A program and its process, which changes with each restart."""

    def __init__(self, program: Program, restarts: bool, quiet: bool = False) -> None:
        self.program = program
        self.restarts = restarts
        self.quiet = quiet
        self.process: subprocess.Popen[bytes] | None = None
        self.exit_code: int | None = None
        self.start_at: float | None = None
        self.ready = False
        self.lines: list[str] = []
        self._started = 0.0
        self._backoff = Backoff()

    def spawn(self) -> Output:
        """Start the process, in a session of its own. Raises OSError or RuntimeError when it cannot be."""
        program = self.program
        self.start_at, self._started, self.ready = None, time.monotonic(), False
        program.prepare()
        self.process = subprocess.Popen(
            leashed(program.command, program.stop_signal, program.identity),
            env=program.environment,
            cwd=program.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        return Output(self, cast(IO[bytes], self.process.stdout))

    def has_ended(self) -> bool:
        """Notice that the process ended, once, and kill what it left in its group: that would keep ports and locks."""
        if self.process is None or self.process.poll() is None:
            return False
        self.kill()
        self.exit_code, self.process = self.process.returncode, None
        return True

    def note(self, line: str) -> None:
        """Take in a line of its output."""
        if not self.restarts:
            self.lines.append(line)
        elif self.program.ready_word and self.program.ready_word in line and "ready" in line:
            self.ready = True

    def plan_restart(self) -> float:
        """Set the time of the next start and return the seconds until then."""
        wait = self._backoff.after(time.monotonic() - self._started)
        self.start_at = time.monotonic() + wait
        return wait

    def request_stop(self) -> None:
        """Ask the process to end, and do not start it again."""
        self.start_at = None
        if self.process is not None:
            self.process.send_signal(self.program.stop_signal)

    def kill(self) -> None:
        """End the process and all of its group at once."""
        if self.process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)


def ending(exit_code: int) -> str:
    """Say in words how a process ended."""
    if exit_code >= 0:
        return f"ended with exit code {exit_code}"
    return f"was ended by {signal.Signals(-exit_code).name}"
