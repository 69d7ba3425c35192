"""The next-task statement against the number of open seats, and against who asks.

    python benchmarks/queue_scale.py --open 1e4,1e6,5e6 --done 0,1e4

Three seats a task. Whoever has N done has filled one seat of each of the first N tasks, so the other two of each stand
open at the head of the queue and are not for them. The cases:

- `queue`: one pool. `rescan` looks from its start instead of from the person's cursor, as happens once before they are
  told that nothing is left.
- `thousandth`: the seats are spread over a thousand pools, each for another skill; the person has one of the skills.
- `snapshot`: the first 130 thousand seats of a queue were filled while a transaction was open that is as old as
  `snapshot_s` says, so that none of what they left behind can be cleared away. `swept` says whether the workers' sweep,
  which comes every 15 seconds, has noted since where the queue begins.

The cases take turns, one take each, so that a busy machine slows all of them alike. All is rolled back, so that each
time measures the same queue. `p50_ms` and `p95_ms` are the one statement that finds the seat, holds it and moves the
cursor; `server_cpu_ms` is the median of what PostgreSQL worked for it, `over_first` that against the first row;
`take_p50_ms` is all that taking a seat does. Prints one JSON line.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.rig.database import fresh_database

OVERLAP = 3
POOLS = 1000
WARM_UP, FEW = 5, 20

BUILD = """
INSERT INTO labelapp_pool (batch_id, purpose, language, skills, sensitivity, boost)
SELECT %(batch)s, 'production', '', CASE WHEN %(pools)s > 1 THEN ARRAY['skill-' || i] ELSE '{}' END::varchar[], '{}', 0
FROM generate_series(1, %(pools)s) AS i;
INSERT INTO labelapp_comparisontask
    (batch_id, prompt_id, purpose, overlap, completions_key, selection_rule, selection_probability, created_at)
SELECT %(batch)s, %(prompt)s, 'production', 3, i::text, 'all', 1, now()
FROM generate_series(1, %(tasks)s) AS i;
INSERT INTO labelapp_seat (pool_id, task_id, position, state)
SELECT (SELECT min(id) FROM labelapp_pool WHERE batch_id = %(batch)s) + task.id %% %(pools)s, task.id,
       nextval('labelapp_seat_position'), 'open'
FROM labelapp_comparisontask task CROSS JOIN generate_series(1, 3)
WHERE task.batch_id = %(batch)s ORDER BY task.id;
"""

DONE = """
CREATE TEMPORARY TABLE mine ON COMMIT DROP AS
    SELECT min(seat.id) AS seat_id, task_id FROM labelapp_seat seat JOIN labelapp_pool pool ON pool.id = seat.pool_id
    WHERE batch_id = %(batch)s GROUP BY task_id ORDER BY task_id LIMIT %(done)s;
UPDATE labelapp_seat SET state = 'filled', annotator_id = %(annotator)s WHERE id IN (SELECT seat_id FROM mine);
INSERT INTO labelapp_annotation (task_id, annotator_id, protocol_id, seat_id, surplus, edges, order_shown, answers,
                                 rationale, idempotency_key, created_at)
SELECT task_id, %(annotator)s, %(protocol)s, seat_id, false, '[]', '{}', '{}', '', gen_random_uuid(), now() FROM mine;
INSERT INTO labelapp_seatcursor (annotator_id, pool_id, position)
SELECT %(annotator)s, pool_id, max(position) FROM labelapp_seat WHERE id IN (SELECT seat_id FROM mine) GROUP BY pool_id;
"""

# What a working day leaves at the head: every seat was held, then filled, by one of three people.
FILL = """
UPDATE labelapp_seat seat SET state = 'filled', annotator_id = %(first)s + mod(seat.position, 3)
FROM (SELECT seat.id FROM labelapp_seat seat JOIN labelapp_pool pool ON pool.id = seat.pool_id
      WHERE batch_id = %(batch)s AND state = 'open' ORDER BY position LIMIT %(filled)s) AS head
WHERE seat.id = head.id;
"""


def build(name: str, open_seats: int, pools: int = 1) -> dict[str, int]:
    """One open batch of a project of its own with so many seats; returns the ids that the measurements need."""
    from labelapp.models import Batch, Project, Prompt, Protocol

    project = Project.objects.create(name=name, slug=name)
    protocol = Protocol.objects.create(project=project, name="Plain")
    prompt = Prompt.objects.create(project=project, messages=[], content_hash="", split="train")
    batch = Batch.objects.create(
        project=project, protocol=protocol, name="All", state="open", overlap=OVERLAP, shared_overlap=OVERLAP
    )
    ids = {"batch": batch.pk, "prompt": prompt.pk, "protocol": protocol.pk, "project": project.pk}
    run(BUILD, {**ids, "tasks": open_seats // OVERLAP, "pools": pools})
    return ids


def labeler(ids: dict[str, int], done: int = 0, skills: tuple[str, ...] = ()) -> int:
    """A person who has done so many tasks of the batch; returns the annotator's id."""
    from labelapp.models import Annotator

    name = f"{Annotator.objects.count()} did {done}"
    annotator = Annotator.objects.create(
        project_id=ids["project"], kind="simulated", name=name, skills=list(skills), languages=["en", "de"]
    )
    if done:
        run(DONE, {**ids, "annotator": annotator.pk, "done": done})
    return annotator.pk


def run(sql: str, values: dict[str, int]) -> None:
    """Several statements at once, which take no parameters; these values are all whole numbers of our own."""
    from django.db import connection, transaction

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # a million foreign keys are known to be right
        cursor.execute(sql % {name: int(value) for name, value in values.items()})


def vacuum() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")


class Case:
    """Somebody who asks for their next task again and again."""

    def __init__(self, annotator_id: int, told: dict[str, Any], *, rescan: bool = False) -> None:
        self.annotator_id, self.rescan, self.told = annotator_id, rescan, told
        self.statements: list[float] = []
        self.takes: list[float] = []
        self.cpu: list[float] = []

    def take(self) -> None:
        """The statement alone, and the whole take around it, both rolled back."""
        from django.db import transaction

        from labelapp.labeling.services.queue import seat_next, seated_lock
        from labelapp.labeling.services.seats import LEASE, seat_take
        from labelapp.models import Batch, Seat

        with transaction.atomic():
            seated = seated_lock(self.annotator_id)
            cpu, start = server_cpu_ms(), time.perf_counter()
            found = seat_next(
                seated, to=Seat.State.HELD, lease=LEASE, work=Batch.Work.COMPARISON, beside=0, rescan=self.rescan
            )
            self.statements.append((time.perf_counter() - start) * 1000)
            self.cpu.append(server_cpu_ms() - cpu)
            transaction.set_rollback(True)
        with transaction.atomic():
            start = time.perf_counter()
            seat_take(annotator_id=self.annotator_id)
            self.takes.append((time.perf_counter() - start) * 1000)
            transaction.set_rollback(True)
        if found is None:
            raise RuntimeError("The queue was empty; nothing was measured.")

    @property
    def worked(self) -> float:
        """The median of the server's work, but for the first takes, which found nothing in memory."""
        return statistics.median(self.cpu[WARM_UP:])

    def row(self, first: "Case") -> dict[str, Any]:
        """What was measured."""
        return {
            **self.told,
            "p50_ms": round(statistics.median(self.statements[WARM_UP:]), 2),
            "p95_ms": round(statistics.quantiles(self.statements[WARM_UP:], n=20)[-1], 2),
            "server_cpu_ms": round(self.worked, 3),
            "over_first": round(self.worked / first.worked, 2),
            "take_p50_ms": round(statistics.median(self.takes[WARM_UP:]), 2),
        }


def server_cpu_ms() -> float:
    """How long the server's process of this connection has worked; on Linux only."""
    from django.db import connection

    spent = Path(f"/proc/{connection.connection.info.backend_pid}/schedstat").read_text()
    return int(spent.split()[0]) / 1e6


def measure(cases: list[Case], times: int) -> None:
    """Let the cases take turns."""
    for _ in range(times + WARM_UP):
        for case in cases:
            case.take()


@contextmanager
def old_snapshot() -> Iterator[float]:
    """A transaction in another connection that sees the tables as they are now; yields since when."""
    from django.db import connections

    other = connections.create_connection("default")
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            cursor.execute("SELECT count(*) FROM labelapp_project")
        yield time.monotonic()
        with other.cursor() as cursor:
            cursor.execute("ROLLBACK")
    finally:
        other.close()


def queue_cases(options: argparse.Namespace) -> list[Case]:
    """One pool, by its size and by what the person has done."""
    cases = []
    for open_seats in options.open:
        ids = build(f"queue-{open_seats}", open_seats)
        for done in [done for done in options.done if done <= open_seats // OVERLAP]:
            annotator_id = labeler(ids, done)
            for rescan in [False, True] if done else [False]:
                told = {"case": "queue", "open": open_seats, "done": done, "rescan": rescan}
                cases.append(Case(annotator_id, told, rescan=rescan))
    return cases


def thousandth_cases(options: argparse.Namespace) -> list[Case]:
    """A thousand pools, of which one is for the person; the smallest and the largest queue."""
    cases = []
    for open_seats in sorted({options.open[0], options.open[-1]}):
        ids = build(f"thousandth-{open_seats}", max(open_seats, POOLS * OVERLAP), POOLS)
        annotator_id = labeler(ids, skills=("skill-7",))
        cases.append(Case(annotator_id, {"case": "thousandth", "open": open_seats, "done": 0, "pools": POOLS}))
    return cases


def snapshot_case(ids: dict[str, int], open_seats: int, filled: int, *, swept: bool) -> Case:
    """Somebody new at a head of dead entries."""
    return Case(labeler(ids), {"case": "snapshot", "open": open_seats, "done": 0, "filled": filled, "swept": swept})


def rows_of(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Make all queues, open the snapshot, fill the head of one, then measure."""
    from labelapp.labeling.services.pools import pools_advance

    cases = queue_cases(options) + thousandth_cases(options)
    open_seats, filled = options.open[len(options.open) // 2], options.filled
    ids = build("snapshot", open_seats + filled)
    fillers = [labeler(ids) for _ in range(OVERLAP)]
    vacuum()
    with old_snapshot() as since:
        run(FILL, {**ids, "first": fillers[0], "filled": filled})
        unswept = snapshot_case(ids, open_seats, filled, swept=False)
        measure([cases[0], unswept], FEW)
        pools_advance()
        time.sleep(max(0.0, since + options.age - time.monotonic()))
        cases.append(snapshot_case(ids, open_seats, filled, swept=True))
        age = {"snapshot_s": round(time.monotonic() - since)}
        measure([case for case in cases if case.rescan], FEW)
        measure([case for case in cases if not case.rescan], options.takes)
    rows = [case.row(cases[0]) for case in [*cases, unswept]]
    return [{**row, **age} if row["case"] == "snapshot" else row for row in rows]


def numbers(text: str) -> list[int]:
    """ "1e4,1e6" as whole numbers."""
    return [int(float(part)) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--open", type=numbers, default="1e4,1e6,5e6", help="open seats, three to a task")
    parser.add_argument("--done", type=numbers, default="0,1e4", help="tasks the labeler has done")
    parser.add_argument("--takes", type=int, default=300)
    parser.add_argument("--filled", type=int, default=130_000, help="seats filled while the snapshot is open")
    parser.add_argument("--age", type=float, default=300, help="seconds that the snapshot is old at the least")
    parser.add_argument("--quick", action="store_true", help="small queues and a young snapshot, within a minute")
    options = parser.parse_args()
    if options.quick:
        options.open, options.done, options.takes = [3_000, 30_000], [0, 500], 50
        options.filled, options.age = 13_000, 0
    with fresh_database("queue"):
        from django.db import connection

        rows = rows_of(options)
        connection.close()
    for row in rows:
        print(json.dumps(row), file=sys.stderr)
    print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
