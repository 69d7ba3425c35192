"""The whole stack, started as people start it, on a data folder of its own."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks.rig.web import wait_for
from labelapp.ops.leftovers import PROC
from labelapp.ops.server import free_port

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Each process begins with its share of what takes longest: of the quick tests the others can take some later.

    xdist's `worksteal` first cuts the list into as many pieces as there are processes, and then moves only the ends.
    """
    shares = getattr(config, "workerinput", {}).get("workercount", 1)
    slow = [item for item in items if Path(__file__).parent in item.path.parents]
    quick = [item for item in items if item not in slow]
    cuts = [len(quick) * share // shares for share in range(shares + 1)]
    pieces = [(*slow[share::shares], *quick[first:last]) for share, (first, last) in enumerate(pairwise(cuts))]
    items[:] = [item for piece in pieces for item in piece]


class Stack:
    """One `manage.py up`, which may be killed and started again."""

    def __init__(self, var: Path, **variables: str) -> None:
        self.var, self.port = var, free_port()
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        # Trainers with a thread for each core are slow to a standstill where others want the cores too.
        quick = {"PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}
        self.environment = {**kept, "PREFLOOP_VAR": str(var), **quick, **variables}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        command = [sys.executable, "manage.py", "up", "--no-seed", "--port", str(self.port)]
        with (self.var / "up.log").open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=self.environment, stdout=log, stderr=log, start_new_session=True
            )
        wait_for(f"http://127.0.0.1:{self.port}/health", 120)

    def stop(self) -> int:
        """Ctrl-C; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(60)

    def python(self, code: str, *values: Any) -> Any:
        """Run code on the stack's database; `given` holds the values, and what it assigns to `found` comes back."""
        script = (
            "import json, sys, os; os.environ['DJANGO_SETTINGS_MODULE'] = 'labelapp.settings'\n"
            "import django; django.setup()\n"
            f"given = json.load(sys.stdin)\n{code}\nprint(json.dumps(found))"
        )
        done = subprocess.run(
            [sys.executable, "-c", script],
            cwd=ROOT,
            env=self.environment,
            input=json.dumps(values),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def processes(self, word: str = "") -> list[int]:
        """Processes below `up` whose command line holds the word."""
        assert self.process is not None
        family = _family(self.process.pid) - {self.process.pid}
        return [pid for pid in family if word in command_of(pid)]

    def kill(self, word: str) -> int:
        """SIGKILL all of them at once; returns how many there were."""
        found = self.processes(word)
        for pid in found:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return len(found)

    def kill_everything(self) -> None:
        """SIGKILL of `up` and all below it."""
        assert self.process is not None
        family = self.processes()
        self.process.kill()
        for pid in family:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait()


def _family(root: int) -> set[int]:
    parents = {}
    for stat in PROC.glob("[0-9]*/stat"):
        with suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    family = {root}
    while grown := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= grown
    return family


def command_of(pid: int) -> str:
    """The command line of a process; empty when it has ended."""
    try:
        return (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        return ""


@pytest.fixture
def variables() -> dict[str, str]:
    """What the stack finds in its environment beyond what it needs."""
    return {}


@pytest.fixture
def stack(tmp_path: Path, variables: dict[str, str]) -> Iterator[Stack]:
    """A running stack; stopped, and its log printed when the test failed."""
    made = Stack(tmp_path, **variables)
    try:
        made.start()
        yield made
    finally:
        print((tmp_path / "up.log").read_text(errors="replace")[-6000:])
        if made.process and made.process.poll() is None:
            made.stop()
