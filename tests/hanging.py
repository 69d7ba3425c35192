"""Pytest plugin (`-p tests.hanging`): a test that hangs is ended and shown, and the others go on.

Calls of a browser's debugging protocol know no time limit: one that Chromium never answers would hold up everything. So
the process of a test ends itself after `PATIENCE`, and leaves behind where it stood. With xdist another process takes
over; there a browser test, whose browser is new then, gets one more try.
"""

import gc
import os
import sys
import threading
import traceback
from collections.abc import Generator, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from greenlet import greenlet

PATIENCE = float(os.environ.get("PREFLOOP_TEST_PATIENCE", "600"))  # seconds; several times what the longest takes
EXIT = 70
STDERR = os.dup(2)  # plugins are read before pytest begins to keep what is written to it


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput") and config.pluginmanager.hasplugin("xdist"):
        config.pluginmanager.register(OneMoreTry(config))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, Any, Any]:
    timer = threading.Timer(PATIENCE, _end, [item.nodeid])
    timer.daemon = True
    timer.start()
    try:
        return (yield)
    finally:
        timer.cancel()


def _end(nodeid: str) -> None:
    try:
        text = f"{nodeid} hangs; its process was ended after {PATIENCE:g} s. Where it stood:\n{''.join(_stacks())}"
        left_behind(nodeid).write_text(text)
        os.write(STDERR, text.encode())
    finally:
        os._exit(EXIT)


def left_behind(nodeid: str) -> Path:
    """Where the process of a test that hung says so."""
    return Path(os.environ["PREFLOOP_VAR"], f"hung-{nodeid.replace('/', '-')}"[:200])


def _stacks() -> Iterator[str]:
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    for ident, frame in sys._current_frames().items():
        if ident != threading.get_ident():
            yield from _stack(f"Thread {names.get(ident, ident)}", frame)
    # A test that waits for the browser is a greenlet, and on none of the threads' own stacks. Not isinstance: it would
    # ask lazy objects what they are, and wake them.
    for waiting in [each for each in gc.get_objects() if issubclass(type(each), greenlet)]:
        if waiting.gr_frame:
            yield from _stack("Greenlet", waiting.gr_frame)


def _stack(title: str, frame: FrameType) -> Iterator[str]:
    yield f"\n{title}:\n"
    yield from traceback.format_stack(frame)


class OneMoreTry:
    """What the process does that hands out the tests."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.tried: set[str] = set()

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport, sched: Any) -> None:
        """Show where the test stood; one of a browser is tried again, the first time."""
        left = left_behind(crashitem)
        if not left.exists():
            return
        report.longrepr = left.read_text()
        left.unlink()
        if "browser" in Path(crashitem.partition("::")[0]).parts and crashitem not in self.tried:
            self.tried.add(crashitem)
            self.config.get_terminal_writer().line(f"\n{report.longrepr}\nIt is tried once more.")
            report.outcome = "rerun"
            sched.mark_test_pending(crashitem)
