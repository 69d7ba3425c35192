"""Run programs as children: one prefixed log, restarts with back-off, and one signal that stops them all.

One thread and one `select` loop; nothing of Django in it. All children are started from that thread, since each is on
a leash (see `leash.py`) that the kernel pulls when the thread ends, even by SIGKILL.
"""

import os
import selectors
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Any, TextIO

from labelapp.ops.children import READ_BYTES, Child, Output, Program, ending
from labelapp.ops.log import LogPrinter

TURN_SECONDS = 0.25
WAIT_STEP_SECONDS = 0.1
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
DISK_FULL = "No space left on device"
REMINDER_SECONDS = 60.0


class StopRequestedError(Exception):
    """Somebody pressed Ctrl-C or sent SIGTERM."""


class Supervisor:
    """Use as a context manager, from the main thread: leaving it stops every child."""

    def __init__(self, out: TextIO) -> None:
        self.log = LogPrinter(out)
        self._children: list[Child] = []
        self._selector = selectors.DefaultSelector()
        self._stop_requests = 0
        self._stopping = False
        self._handlers: dict[int, Any] = {}
        self._reminded = -REMINDER_SECONDS
        self._wakeup, self._wakeup_end = os.pipe()

    def __enter__(self) -> "Supervisor":
        for end in (self._wakeup, self._wakeup_end):
            os.set_blocking(end, False)
        self._selector.register(self._wakeup, selectors.EVENT_READ)
        signal.set_wakeup_fd(self._wakeup_end, warn_on_full_buffer=False)
        for number in STOP_SIGNALS:
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup
                self._handlers[number] = signal.signal(number, self._request_stop)
        self._handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)  # only to wake the loop
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        finally:
            signal.set_wakeup_fd(-1)
            for number, handler in self._handlers.items():
                signal.signal(number, handler)
            self._selector.close()
            os.close(self._wakeup)
            os.close(self._wakeup_end)

    def start(self, program: Program) -> Child:
        """Start a program and keep it running: it is started again whenever it ends."""
        return self._add(Child(program, restarts=True))

    def start_once(self, program: Program, quiet: bool = False) -> Child:
        """Start a program that ends by itself. Its output is kept in `lines`; quiet keeps it out of the log."""
        return self._add(Child(program, restarts=False, quiet=quiet))

    def run_once(self, program: Program) -> Child:
        """Run a program to its end. Raises StopRequestedError."""
        return self.wait_for_end(self.start_once(program))

    def wait_for_end(self, child: Child) -> Child:
        """Wait until a program that was started once has ended. Raises StopRequestedError."""
        while child.exit_code is None:
            self.turn()
        return child

    def wait_for(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Wait until the condition holds; false when the time is over. Raises StopRequestedError."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                return False
            pause = time.monotonic() + WAIT_STEP_SECONDS  # a turn ends early when somebody writes a line
            while (left := pause - time.monotonic()) > 0:
                self.turn(left)
        return True

    def run(self) -> None:
        """Keep the children running until a stop is requested."""
        with suppress(StopRequestedError):
            while True:
                self.turn()

    def turn(self, seconds: float = TURN_SECONDS) -> None:
        """Pass on output, notice ends, make the restarts that are due. Raises StopRequestedError."""
        self._read(seconds)
        for child in self._children:
            if child.has_ended():
                self._handle_end(child)
        if self._stopping:
            return
        if self._stop_requests or self.log.broken:
            raise StopRequestedError
        for child in self._children:
            if child.start_at is not None and child.start_at <= time.monotonic():
                self._spawn(child)

    def stop(self) -> None:
        """Stop all children, the highest stage first, each within its own time; a second request kills at once."""
        self._stopping = True
        for stage in sorted({child.program.stage for child in self._children}, reverse=True):
            self._stop_stage([child for child in self._children if child.program.stage == stage])

    def _stop_stage(self, children: list[Child]) -> None:
        begun = time.monotonic()
        for child in children:
            child.request_stop()
        while living := [child for child in children if child.process is not None]:
            for child in living:
                if self._stop_requests > 1 or time.monotonic() - begun > child.program.stop_seconds:
                    child.kill()
            self.turn(0.05)

    def _request_stop(self, number: int, frame: FrameType | None) -> None:
        self._stop_requests += 1

    def _add(self, child: Child) -> Child:
        self._children.append(child)
        self._spawn(child)
        return child

    def _spawn(self, child: Child) -> None:
        try:
            output = child.spawn()
        except (OSError, RuntimeError) as error:
            child.exit_code = 1
            self.log.say(child.program.name, f"cannot be started: {error}")
            self._handle_end(child)
        else:
            self._selector.register(output.stream, selectors.EVENT_READ, output)

    def _handle_end(self, child: Child) -> None:
        self._drain(child)
        if self._stopping or not child.restarts:
            return
        wait = child.plan_restart()
        self.log.say(child.program.name, f"{ending(child.exit_code or 0)}; it is started again in {wait:g} s")

    def _read(self, seconds: float) -> None:
        for key, _ in self._selector.select(seconds):
            if key.fd == self._wakeup:
                os.read(self._wakeup, READ_BYTES)
            else:
                self._pass_on(key.data)

    def _drain(self, child: Child) -> None:
        """Read what a process wrote just before its end."""
        for key in list(self._selector.get_map().values()):
            if isinstance(key.data, Output) and key.data.child is child:
                self._pass_on(key.data)

    def _pass_on(self, output: Output) -> None:
        lines, more = output.read()
        child = output.child
        for line in lines:
            child.note(line)
            if line and not child.quiet:
                self.log.say(child.program.name, line)
            if DISK_FULL in line:
                self._remind_of_disk()
        if not more:
            self._selector.unregister(output.stream)
            output.stream.close()

    def _remind_of_disk(self) -> None:
        if time.monotonic() - self._reminded >= REMINDER_SECONDS:
            self._reminded = time.monotonic()
            self.log.say("up", "A disk is full. Make room on it: until then nothing can be saved.")
