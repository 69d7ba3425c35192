"""Processes that an earlier, killed run left behind: find them by what only they carry, and end them."""

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

MARK = "PREFLOOP_STACK"
PROC = Path("/proc")
POLL_SECONDS = 0.02


def marked_processes(mark: str) -> list[int]:
    """Return the ids of processes whose environment holds MARK=`mark`, this one left out."""
    wanted = f"{MARK}={mark}".encode()
    return [pid for pid in _other_processes() if wanted in _read(pid, "environ").split(b"\0")]


def servers_in(folder: Path, names: Sequence[str]) -> list[int]:
    """Return the ids of processes of these program names that work in the folder (both servers move into theirs)."""
    here = str(folder.resolve())
    return [pid for pid in _other_processes() if _link(pid, "cwd") == here and _program(pid) in names]


def end_processes(find: Callable[[], list[int]], steps: Sequence[tuple[signal.Signals, float]]) -> list[int]:
    """Send each signal in turn until `find` returns nothing, and wait its seconds. Return the ids first found."""
    first = find()
    for number, seconds in steps:
        for pid in find():
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)
        deadline = time.monotonic() + seconds
        while find():
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_SECONDS)
        else:
            return first
    return first


def _other_processes() -> Iterator[int]:
    if PROC.is_dir():
        yield from (int(path.name) for path in PROC.iterdir() if path.name.isdigit() and int(path.name) != os.getpid())


def _read(pid: int, name: str) -> bytes:
    try:
        return (PROC / str(pid) / name).read_bytes()
    except OSError:  # ended meanwhile, or another user's
        return b""


def _link(pid: int, name: str) -> str:
    try:
        return str((PROC / str(pid) / name).readlink())
    except OSError:
        return ""


def _program(pid: int) -> str:
    return Path(_link(pid, "exe").removesuffix(" (deleted)")).name
