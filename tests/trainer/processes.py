"""Commands in processes of their own that can be killed at an exact moment, and start fast.

A server imports what the trainer needs once; every process is forked from it.
"""

import multiprocessing
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import accelerate  # noqa: F401  so that no process has to
import peft  # noqa: F401
import torch

import trainer.__main__
import trainer.preference
import trainer.reward
import trainer.sft

torch.set_num_threads(1)
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(["tests.trainer.processes"])


# Not a signal: the standard input closes.
STDIN = None


class Moment(NamedTuple):
    """When a process opens a file whose path contains `part` for the `number`-th time."""

    part: str
    number: int


def run(arguments: list[str], *, until: Moment | None = None, ending: signal.Signals | None = signal.SIGKILL) -> int:
    """Run a command to its end, or until a signal or the end of its standard input stops it at a moment.

    Returns its exit code, negative for a signal.
    """
    return _codes([SERVER.Process(target=_child, args=(arguments, until, ending))])[0]


def run_together(
    arguments: list[str],
    count: int,
    *,
    until: Moment | None = None,
    ending: signal.Signals | None = signal.SIGKILL,
    victim: int = 0,
) -> list[int]:
    """Run a command in several processes that train together; a moment ends one of them. Returns all exit codes."""
    port = _port()
    return _codes(
        [
            SERVER.Process(
                target=_member, args=(rank, count, port, _child, (arguments, until if rank == victim else None, ending))
            )
            for rank in range(count)
        ]
    )


def call_together(function: Callable[[int], Any], count: int) -> list[Any]:
    """What a function of a module returns in each of several processes that are joined, given its rank.

    An error that it raises is returned in words.
    """
    port, queue = _port(), SERVER.Queue()
    members = [
        SERVER.Process(target=_member, args=(rank, count, port, _call, (function, rank, queue)))
        for rank in range(count)
    ]
    for member in members:
        member.start()
    found = dict(queue.get(timeout=120) for _ in members)
    for member in members:
        member.join(60)
    return [found[rank] for rank in range(count)]


def _codes(started: list[Any]) -> list[int]:
    for process in started:
        process.start()
    end = time.monotonic() + 120
    for process in started:
        process.join(max(0.0, end - time.monotonic()))
    late = [process for process in started if process.is_alive()]
    for process in late:
        process.kill()
    if late:
        raise TimeoutError(f"{len(late)} of {len(started)} processes did not end.")
    return [process.exitcode for process in started]


def _port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _member(rank: int, count: int, port: int, work: Callable[..., None], arguments: tuple[Any, ...]) -> None:
    """One of several processes, with the environment that torchrun gives."""
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count, "MASTER_PORT": port}
    os.environ |= {name: str(value) for name, value in names.items()}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1"}
    work(*arguments)


def _call(function: Callable[[int], Any], rank: int, queue: Any) -> None:
    from trainer.loop.distributed import joined

    try:
        with joined():
            value = function(rank)
    except Exception as error:
        value = f"{type(error).__name__} {getattr(error, 'exit_code', '')}: {error}"
    queue.put((rank, value))


def command_line(command: str, output: Any, **given: Any) -> list[str]:
    """The arguments of a command: `learning_rate=1` becomes `--learning-rate 1`."""
    flags = [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", str(value))]
    return [command, "--output", str(output), *flags]


def _child(arguments: list[str], until: Moment | None, ending: signal.Signals | None) -> None:
    reading, writing = os.pipe()
    sys.stdin = open(reading)  # noqa: PTH123, SIM115
    if until is not None:
        sys.addaudithook(_Ending(until, ending, writing).hear)
    sys.exit(trainer.__main__.main(arguments))


class _Ending:
    """Ends this process at a moment."""

    def __init__(self, until: Moment, ending: signal.Signals | None, stdin: int) -> None:
        self._until, self._ending, self._stdin = until, ending, stdin
        self._count = 0

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and self._until.part in str(arguments[0]):
            self._count += 1
            if self._count == self._until.number and self._ending is not None:
                os.kill(os.getpid(), self._ending)
            elif self._count == self._until.number:
                os.close(self._stdin)
                time.sleep(0.3)  # until the thread that watches has noticed
