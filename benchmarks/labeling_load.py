"""Labelers over HTTP against a real server: throughput, latency, and whether any label is lost or counted twice.

    python benchmarks/labeling_load.py --labelers 32 --tasks 2000 --overlap 3 --dying 0.33 --drafts 1

Every labeler signs in, opens the labeling page and works as its script does: reserves the next task once, saves drafts,
and submits; the answer to a submit says that the reserved task is theirs now, and brings the form of the one after it.
A share of them dies while holding a seat: their lease is cut short, others get the seat, and in the end the dead come
back and submit late. `--rate` limits all labelers together to so many tasks a second; 0 is as fast as they can.

Prints one JSON line. `next` is the time from asking for a task until its form is there to be read: that of the first
page, and then that of the submit, whose answer the page waits for before it shows the form it has. CPU is counted from
the first task to the last, the sign-ins before them left out; `server` is web and PostgreSQL.
"""

import argparse
import asyncio
import json
import resource
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.rig.database import fresh_database
from benchmarks.rig.labelers import Labeler, Record, Task
from benchmarks.rig.project import PASSWORD, SLUG, build, counts, seats_cut_short
from benchmarks.rig.web import cpu_seconds, web_server
from labelapp.ops.server import free_port


@dataclass
class Pace:
    """Hands out starts at a fixed rate to all labelers together; a rate of 0 does not wait."""

    rate: float
    started: float = field(default_factory=time.perf_counter)
    given: int = 0

    async def wait(self) -> None:
        """Wait for the next start."""
        if self.rate:
            self.given += 1
            await asyncio.sleep(max(0.0, self.started + self.given / self.rate - time.perf_counter()))


async def day(person: Labeler, pace: Pace, drafts: int, dies_after: int | None) -> Task | None:
    """Label until nothing is left; return the task held at death, if this person dies."""
    done = 0
    while True:
        await pace.wait()
        task = await person.next_task()
        if task is None:
            if not person.may_come_back:
                return None
            await asyncio.sleep(0.3)
            continue
        await person.look_ahead()
        for revision in range(1, drafts + 1):
            await person.draft(task, task.letters[0], revision)
        if done == dies_after:
            person.browser.drop()
            await asyncio.to_thread(seats_cut_short, person.email)
            return task
        await person.submit(task)
        done += 1


async def run(
    emails: list[str], port: int, record: Record, options: argparse.Namespace, servers: list[int]
) -> dict[str, float]:
    """Sign-ins, then all days at once, then the late submits; returns the seconds of the days, and of CPU in them."""
    people = [Labeler(email, PASSWORD, slug=SLUG, host="127.0.0.1", port=port, record=record) for email in emails]
    for person in people:
        await person.sign_in()
    dying = int(len(people) * options.dying)
    usual = options.tasks * options.overlap // len(people)
    before, own = cpu_seconds(servers), resource.getrusage(resource.RUSAGE_SELF)
    pace, start = Pace(options.rate), time.perf_counter()
    ends = await asyncio.gather(
        *(
            day(person, pace, options.drafts, usual * (number + 1) // (2 * dying) if number < dying else None)
            for number, person in enumerate(people)
        )
    )
    after = resource.getrusage(resource.RUSAGE_SELF)
    spent = {
        "seconds": time.perf_counter() - start,
        "server": cpu_seconds(servers) - before,
        "client": after.ru_utime + after.ru_stime - own.ru_utime - own.ru_stime,
    }
    for person, task in zip(people, ends, strict=True):
        if task:
            await person.submit(task)
    return spent


def p95(values: list[float]) -> float:
    """The 95th percentile, rounded."""
    return round(statistics.quantiles(values, n=20)[-1], 1)


def measure(options: argparse.Namespace) -> dict[str, float | int]:
    """The whole benchmark on a database of its own."""
    record, port = Record(), free_port()
    with fresh_database("load") as database:
        emails = build(options.labelers, options.tasks, options.overlap, options.k)
        with web_server(port) as web:
            spent = asyncio.run(run(emails, port, record, options, [web.pid, database.pid]))
        for error in sorted(set(record.errors)):
            print(f"{record.errors.count(error)} x {error}", file=sys.stderr)
        found = counts(record.submitted, options.overlap)
    done = len(record.submitted)
    return {
        "labelers": options.labelers,
        "tasks": options.tasks,
        "submits": done,
        "tasks_per_s": round(done / spent["seconds"], 1),
        "server_cpu_ms_per_task": round(1000 * spent["server"] / done, 1),
        "client_cpu_ms_per_task": round(1000 * spent["client"] / done, 1),
        "p50_next_ms": round(statistics.median(record.next_ms), 1),
        "p95_next_ms": p95(record.next_ms),
        "p95_submit_ms": p95(record.submit_ms),
        **found,
        "errors": len(record.errors),
    }


def arguments(given: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labelers", type=int, default=32)
    parser.add_argument("--tasks", type=int, default=2000)
    parser.add_argument("--overlap", type=int, default=3)
    parser.add_argument("--k", type=int, default=4, help="completions per task")
    parser.add_argument("--rate", type=float, default=0, help="tasks started a second, all together; 0 does not wait")
    parser.add_argument("--drafts", type=int, default=1, help="drafts saved per task")
    parser.add_argument("--dying", type=float, default=0.0, help="share of labelers that die holding a seat")
    parser.add_argument("--quick", action="store_true", help="8 labelers and 40 tasks")
    options = parser.parse_args(given)
    if options.quick:
        options.labelers, options.tasks, options.dying = 8, 40, 0.33
    return options


if __name__ == "__main__":
    print(json.dumps(measure(arguments())))
