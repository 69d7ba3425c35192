"""SIGKILL of worker, trainer, redis, PostgreSQL and everything while a model is trained, or is sampled from."""

import json
import shlex
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest

from benchmarks.rig.web import wait_for
from labelapp.ops.leftovers import PROC
from tests.jobs.trainers import is_alive
from tests.services.conftest import Stack, command_of

pytest.importorskip("torch")
pytest.importorskip("transformers")

from tests.services.slow_trainer import REST

pytestmark = pytest.mark.services

SLOW_TRAINER = "-m tests.services.slow_trainer"
WORKER, TRAINER, REDIS, POSTGRES, ALL = "compute@", SLOW_TRAINER, "redis-server", "postgres", "all"
CALL = "from tests.services import ring; found = getattr(ring, given[0])(*given[1:])"
TIME_PASSES = """
UPDATE labelapp_job SET heartbeat_at = now() - interval '70 s'
WHERE state IN ('queued', 'running') AND heartbeat_at < now() - interval '10 s'
"""
STATE = "SELECT state FROM labelapp_job WHERE id = %s"
ENDED = ("succeeded", "failed", "cancelled")


@dataclass
class Work:
    """A job of the stack that has a trainer at work; `written` says how many lines stand in a log, after a check."""

    stack: Stack
    job: int
    written: Callable[[], int]

    def disturb(self, kills: dict[str, int], *, rest: float) -> None:
        """Kill each of these once so many lines are written, and wait until one trainer works again.

        Meanwhile the trainer rests before each pass through its model, so many seconds: where it is quick and the
        services are slow to come back, it would be done before the last kill.
        """
        resting = self.stack.var / REST
        resting.write_text(str(rest))
        for word, lines in kills.items():
            self._wait(partial(self._at_work, lines))
            [before] = self.trainers()
            self._kill(word)
            self._wait(partial(self._settled, word, before))
        resting.unlink()

    def end(self) -> None:
        """Wait for the job's end, after which no trainer is left."""
        wait_patiently(lambda: self._sql(STATE, self.job) in ENDED, pause=1)
        assert self.trainers() == []

    def trainers(self) -> list[int]:
        """All living trainers on this stack's data, whoever started them."""
        pids = [int(path.name) for path in PROC.glob("[0-9]*")]
        place = str(self.stack.var / "runs")
        return [pid for pid in pids if TRAINER in (words := command_of(pid)) and place in words and is_alive(pid)]

    def _kill(self, word: str) -> None:
        if word == ALL:
            self.stack.kill_everything()
            self.stack.start()
            return
        assert self.stack.kill(word) > 0, word
        wait_for(f"http://127.0.0.1:{self.stack.port}/health", 60)

    def _at_work(self, lines: int) -> bool:
        return self.written() >= lines and len(self.trainers()) == 1

    def _settled(self, word: str, before: int) -> bool:
        """The trainer outlives redis; of all else that dies another one must come of it."""
        trainers = self.trainers()
        return len(trainers) == 1 and (trainers == [before]) == (word == REDIS)

    def _wait(self, holds: Callable[[], bool]) -> None:
        """Wait, and let a minute pass for a job of which nobody has heard for ten seconds."""
        looked = 0.0

        def patient() -> bool:
            nonlocal looked
            if time.monotonic() > looked + 1:
                assert self._sql(STATE, self.job) not in ENDED, "It ended before the kills did."
                self._sql(TIME_PASSES)
                looked = time.monotonic()
            return holds()

        wait_patiently(patient)

    def _sql(self, statement: str, *values: Any) -> Any:
        """The first value of the answer; None while the database does not answer."""
        with suppress(OSError, psycopg.OperationalError):
            url = (self.stack.var / "postgres/url").read_text()
            with psycopg.connect(url, connect_timeout=2) as connection:
                cursor = connection.execute(statement, values or None)
                row = cursor.fetchone() if cursor.description else None
                return row and row[0]
        return None


@pytest.fixture
def variables() -> dict[str, str]:
    """The stack's trainer is one that can be slowed down."""
    return {"PREFLOOP_TRAINER": f"{shlex.quote(sys.executable)} {SLOW_TRAINER}"}


def wait_patiently(holds: Callable[[], bool], seconds: float = 150, pause: float = 0.05) -> None:
    """Wait until something holds; fail when it does not come."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "It did not come to hold in time."
        time.sleep(pause)


def steps_in(folder: Path) -> int:
    """How many steps the trainer's log has. Two trainers at once would show in it as steps that come twice."""
    steps = [line["step"] for line in lines_in(folder / "events.jsonl") if line["kind"] == "train"]
    assert steps == list(range(1, len(steps) + 1))
    return len(steps)


def completions_in(folder: Path) -> int:
    """How many completions the trainer's log has, each of them once."""
    drawn = [(line["prompt"], line["index"]) for line in lines_in(folder / "outputs.jsonl")]
    assert len(set(drawn)) == len(drawn)
    return len(drawn)


def lines_in(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a log, which may be cut, or be gone, at any time."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in content.splitlines(keepends=True) if line.endswith(b"\n")]


def ask(stack: Stack, name: str, *values: Any) -> Any:
    """Call a function of `tests.services.ring` on the stack's database."""
    return stack.python(CALL, name, *values)


def test_a_training_ends_with_the_same_weights_whatever_is_killed(stack: Stack) -> None:
    ask(stack, "project_fill")
    disturbed = Work(stack, ask(stack, "training_start", "Disturbed"), lambda: steps_in(stack.var / "runs/run-1"))
    disturbed.disturb({WORKER: 12, TRAINER: 27, REDIS: 38, POSTGRES: 42, ALL: 65}, rest=0.2)
    disturbed.end()
    calm = Work(stack, ask(stack, "training_start", "Calm"), lambda: 0)
    calm.end()
    got, wanted = (ask(stack, "training_result", work.job) for work in (disturbed, calm))
    assert (got["state"], got["attempt"], got["models"]) == ("succeeded", 5, 1)
    assert (wanted["state"], wanted["attempt"]) == ("succeeded", 1)
    assert got["steps"] == list(range(1, 129))
    assert got["events"] == wanted["events"]
    assert got["sha256"] == wanted["sha256"]


def test_a_sampling_draws_each_completion_once_whatever_is_killed(stack: Stack) -> None:
    ask(stack, "project_fill")
    job = ask(stack, "sampling_start")
    [model] = ask(stack, "models")
    disturbed = Work(stack, job, lambda: completions_in(stack.var / f"runs/sample-{job}-{model}"))
    disturbed.disturb({WORKER: 40, TRAINER: 100, REDIS: 150, POSTGRES: 160, ALL: 210}, rest=0.01)
    disturbed.end()
    calm = Work(stack, ask(stack, "sampling_start"), lambda: 0)
    calm.end()
    got, wanted = (ask(stack, "sampling_result", work.job) for work in (disturbed, calm))
    assert (got["state"], got["attempt"]) == ("succeeded", 5)
    assert (wanted["state"], wanted["attempt"]) == ("succeeded", 1)
    assert [row[:2] for row in got["drawn"]] == [[prompt, n] for prompt in got["prompts"] for n in range(4)]
    assert got["drawn"] == wanted["drawn"]
