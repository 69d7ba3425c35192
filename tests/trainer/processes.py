"""Commands in processes of their own that can be killed at an exact moment, and start fast.

A server imports what the trainer needs once; every process is forked from it.
"""

import multiprocessing
import os
import signal
import sys
import time
from typing import Any, NamedTuple

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
    process = SERVER.Process(target=_child, args=(arguments, until, ending))
    process.start()
    process.join(120)
    if process.is_alive():
        process.kill()
        raise TimeoutError(f"{arguments} did not end.")
    assert process.exitcode is not None
    return process.exitcode


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
