"""A run folder while a command works in it: one process at a time, stopped on request, resumed by the next.

A command is started as `run(request, options, folder) -> report`. It writes lines to `folder.events` or
`folder.outputs`, and calls `folder.stop_check()` wherever it can stop without loss.
"""

import fcntl
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self, cast

from trainer.config import Options
from trainer.durable import json_write, leftovers_remove, synced
from trainer.records import CONFIG, EVENTS, MODEL, OUTPUTS, REPORT, Request

LOCK = "lock"
ATTEMPT = "attempt"
LOCK_WAIT = 60.0
STOP_WAIT = 60.0


class CommandError(Exception):
    """Ends a command with its exit code; the message is for people."""

    exit_code = 1


class InputError(CommandError):
    """Something that was asked for or handed in cannot be used; the message says what, where, and how to mend it."""

    exit_code = 2


class StoppedError(CommandError):
    """Stopped because asked. Nothing is lost: the same command goes on from here."""

    exit_code = 3


class TakenError(CommandError):
    """The folder is in use by another process, or belongs to a newer attempt."""

    exit_code = 4


class LineLog:
    """A file of JSON lines that only grows, except that a resumed run cuts off what it will write again.

    Of several processes that train together, the one that leads writes; for the others, nothing happens.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writes = leading()

    @property
    def offset(self) -> int:
        """Its length in bytes, which is where the next line goes."""
        return self.path.stat().st_size if self.path.exists() else 0

    def append(self, line: Mapping[str, Any]) -> None:
        """Write a line; the process may be killed right after. Raises ValueError when it holds NaN or infinity.

        A line for which there is no room on disk leaves nothing behind.
        """
        if not self._writes:
            return
        rest = memoryview(json.dumps(line, ensure_ascii=False, allow_nan=False).encode() + b"\n")
        with self.path.open("ab", buffering=0) as file:
            before = self.offset
            try:
                while rest:
                    rest = rest[file.write(rest) :]
            except OSError:
                file.truncate(before)
                raise

    def truncate(self, offset: int) -> None:
        """Cut off everything from a place on. Raises ValueError when the log is shorter than that."""
        if not self._writes:
            return
        if offset > self.offset:
            raise ValueError(f"{self.path} has {self.offset} bytes, fewer than the {offset} that were written.")
        if offset < self.offset:
            os.truncate(self.path, offset)

    def lines(self) -> Iterator[dict[str, Any]]:
        """The complete lines. A last line without an end is what a killed process left, and is passed over."""
        if not self.path.exists():
            return
        with self.path.open("rb") as file:
            for line in file:
                if line.endswith(b"\n"):
                    yield json.loads(line)

    def mend(self) -> None:
        """Cut off an incomplete last line."""
        if self.path.exists():
            content = self.path.read_bytes()
            self.truncate(content.rfind(b"\n") + 1)

    def sync(self) -> None:
        """Wait until what was appended is on disk."""
        if self._writes and self.path.exists():
            synced(self.path)


class RunFolder:
    """A run folder in which this process, and no other, works while the `with` block lasts.

    A higher `attempt` takes the folder over: the older process stops at its next `stop_check`, and none with a lower
    number begins. Of several processes that train together, the one that leads holds the folder and writes in it; the
    others read. Entering raises TakenError, or StoppedError when a stop is asked for while it waits for the lock.
    """

    def __init__(
        self,
        path: Path,
        *,
        attempt: int | None = None,
        watch_stdin: bool = False,
        lock_wait: float = LOCK_WAIT,
        stop_wait: float = STOP_WAIT,
    ) -> None:
        self.path = path
        self.events = LineLog(path / EVENTS)
        self.outputs = LineLog(path / OUTPUTS)
        self._leads = leading()
        self._attempt, self._lock_wait = attempt if self._leads else None, lock_wait
        self._watch = _StopWatch(watch_stdin, stop_wait)
        self._lock = -1

    def __enter__(self) -> Self:
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self.path} cannot be made a folder: {error.strerror}. Choose another --output."
            ) from error
        self._attempt_announce()
        self._watch.start()
        if not self._leads:
            return self
        try:
            self._lock_take()
            self._attempt_check()
        except BaseException:
            self._leave()
            raise
        leftovers_remove(self.path)
        self.events.mend()
        self.outputs.mend()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._leave()

    @property
    def stop_requested(self) -> bool:
        """Whether somebody asked this process to stop: by a signal, or by closing its standard input."""
        return self._watch.requested

    @property
    def finished(self) -> bool:
        """Whether the report, which is written last, is there."""
        return (self.path / REPORT).exists()

    @property
    def resolved(self) -> dict[str, Any]:
        """What the request came to when the run began; empty before that."""
        path = self.path / CONFIG
        return dict(json.loads(path.read_text())["resolved"]) if path.exists() else {}

    @property
    def request(self) -> Request:
        """What was asked for, with all options, as config.json keeps it once the run began."""
        kept = json.loads((self.path / CONFIG).read_text())
        return cast(Request, {name: value for name, value in kept.items() if name != "resolved"})

    def stop_check(self, before: Callable[[], object] = lambda: None, *, asked: bool | None = None) -> None:
        """Raise StoppedError, after calling `before`, when a stop is asked for; TakenError for a newer attempt.

        `asked` stands for what several processes agreed on, in place of what this one heard.
        """
        self._attempt_check()
        if self.stop_requested if asked is None else asked:
            before()
            raise StoppedError("Stopped as asked. Start the same command again to go on.")

    def request_check(self, request: Request, options: Options) -> None:
        """Raise InputError when the folder holds a run of another request."""
        path = self.path / CONFIG
        if not path.exists():
            if (self.path / MODEL).exists():
                raise InputError(f"{self.path} holds a model that is none of this run's. Choose another --output.")
            return
        there = json.loads(path.read_text())
        asked = _config(request, options)
        # An option that the trainer did not have when the run began counts with its default.
        there["options"] = _config(request, type(options)())["options"] | there["options"]
        other = sorted(
            name for name in asked.keys() | there.keys() - {"resolved"} if asked.get(name) != there.get(name)
        )
        if other:
            raise InputError(
                f"{self.path} holds a run of another request: {_difference(there, asked, other)}. "
                "Choose another --output, or ask for the same again to resume."
            )

    def config_write(self, request: Request, options: Options, *, resolved: Mapping[str, Any]) -> None:
        """Write the resolved request: what was asked for, with all options, and what it came to on this machine."""
        self.request_check(request, options)
        if self._leads:
            json_write(self.path / CONFIG, _config(request, options) | {"resolved": dict(resolved)})

    def report_write(self, report: Mapping[str, Any]) -> None:
        """Write the report, after which the run is finished."""
        if not self._leads:
            return
        self.events.sync()
        self.outputs.sync()
        json_write(self.path / REPORT, report)

    def _attempt_announce(self) -> None:
        """Say which attempt this is, before waiting for the lock, so that an older process makes way."""
        if self._attempt is None:
            return
        descriptor = os.open(self.path / ATTEMPT, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            self._attempt_check()
            os.pwrite(descriptor, f"{self._attempt:020d}\n".encode(), 0)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def _attempt_check(self) -> None:
        if self._attempt is None:
            return
        text = (self.path / ATTEMPT).read_text().strip()
        if text and int(text) > self._attempt:
            raise TakenError(f"{self.path} belongs to attempt {int(text)}; this is attempt {self._attempt}.")

    def _lock_take(self) -> None:
        self._lock = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT, 0o644)
        end = time.monotonic() + self._lock_wait
        while True:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() >= end:
                    raise TakenError(f"Another process works in {self.path}.") from None
            self.stop_check()
            time.sleep(0.1)

    def _leave(self) -> None:
        self._watch.end()
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


class _StopWatch:
    """Notices that a stop is asked for, and ends a process that does not stop in time."""

    def __init__(self, watch_stdin: bool, wait: float) -> None:
        self.requested = False
        self._watch_stdin, self._wait = watch_stdin, wait
        self._asked = threading.Event()
        self._ended = threading.Event()
        self._handlers: dict[signal.Signals, Any] = {}

    def start(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            if threading.current_thread() is threading.main_thread():
                self._handlers[number] = signal.signal(number, self._signalled)
        threading.Thread(target=self._deadline, daemon=True).start()
        if self._watch_stdin:
            threading.Thread(target=self._stdin, daemon=True).start()

    def end(self) -> None:
        self._ended.set()
        self._asked.set()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers.clear()

    def _signalled(self, number: int, frame: FrameType | None) -> None:
        self._request()

    def _request(self) -> None:
        self.requested = True
        self._asked.set()

    def _stdin(self) -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        self._request()

    def _deadline(self) -> None:
        self._asked.wait()
        if not self._ended.wait(self._wait):
            say(f"Not stopped {self._wait:.0f} s after it was asked for: ending now.")
            os._exit(StoppedError.exit_code)


def leading() -> bool:
    """Whether this process is the only one, or the first of several that train together, and so writes."""
    return os.environ.get("RANK", "0") == "0"


def say(text: str) -> None:
    """Tell people, on the standard error, which the application keeps. Of several processes, one speaks."""
    if leading():
        print(text, file=sys.stderr, flush=True)


def _config(request: Request, options: Options) -> dict[str, Any]:
    """A request as config.json keeps it, in the types of JSON."""
    resolved = dict(request) | {"options": asdict(options)}
    return dict(json.loads(json.dumps(resolved)))


def _difference(there: Mapping[str, Any], asked: Mapping[str, Any], names: list[str]) -> str:
    """Where two requests differ, in words."""
    parts = []
    for name in names:
        old, new = there.get(name), asked.get(name)
        if name == "options" and isinstance(old, dict) and isinstance(new, dict):
            keys = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
            parts += [f"{key} is {old.get(key)!r} there and {new.get(key)!r} here" for key in keys]
        else:
            parts.append(f"{name} is {old!r} there and {new!r} here")
    return ", ".join(parts)
