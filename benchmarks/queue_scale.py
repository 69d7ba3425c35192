"""The next-task query against the number of open seats, and against what the labeler has already done.

    python benchmarks/queue_scale.py --open 1e4,1e6,3e6 --done 0,1e4

Three seats a task. A labeler with N done has filled one seat of each of the first N tasks, so the other two of each
stand open at the head of the queue and are not for them; `rescan` looks from there instead of from their cursor, as
happens once before a labeler is told that nothing is left. All is rolled back, so that each time measures the same
queue. `p50_ms` and `p95_ms` are the query alone, `take_p50_ms` is all that taking a seat does. Prints one JSON line.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.rig.database import fresh_database

OVERLAP = 3

BUILD = """
INSERT INTO labelapp_comparisontask
    (batch_id, prompt_id, purpose, overlap, completions_key, selection_rule, selection_probability, created_at)
SELECT %(batch)s, %(prompt)s, 'production', 3, md5(%(batch)s || ':' || i), 'all', 1, now()
FROM generate_series(1, %(tasks)s) AS i;
INSERT INTO labelapp_seat (pool_id, task_id, position, state)
SELECT %(pool)s, task.id, nextval('labelapp_seat_position'), 'open'
FROM labelapp_comparisontask task CROSS JOIN generate_series(1, 3)
WHERE task.batch_id = %(batch)s ORDER BY task.id;
"""

DONE = """
CREATE TEMPORARY TABLE mine ON COMMIT DROP AS
    SELECT min(id) AS seat_id, task_id FROM labelapp_seat WHERE pool_id = %(pool)s
    GROUP BY task_id ORDER BY task_id LIMIT %(done)s;
UPDATE labelapp_seat SET state = 'filled', annotator_id = %(annotator)s WHERE id IN (SELECT seat_id FROM mine);
INSERT INTO labelapp_annotation (task_id, annotator_id, protocol_id, seat_id, surplus, edges, order_shown, answers,
                                 rationale, idempotency_key, created_at)
SELECT task_id, %(annotator)s, %(protocol)s, seat_id, false, '[]', '{}', '{}', '', gen_random_uuid(), now() FROM mine;
INSERT INTO labelapp_seatcursor (annotator_id, pool_id, position)
SELECT %(annotator)s, %(pool)s, coalesce(max(position), 0) FROM labelapp_seat WHERE id IN (SELECT seat_id FROM mine);
"""


def build(tasks: int) -> dict[str, int]:
    """One open batch with so many tasks; returns the ids that the measurements need."""
    from django.db import connection, transaction

    from labelapp.models import Batch, Pool, Project, Prompt, Protocol

    project = Project.objects.create(name=f"{tasks} tasks", slug=f"tasks-{tasks}")
    protocol = Protocol.objects.create(project=project, name="Plain")
    prompt = Prompt.objects.create(project=project, messages=[], content_hash="", split="train")
    batch = Batch.objects.create(
        project=project, protocol=protocol, name="All", state="open", overlap=OVERLAP, shared_overlap=OVERLAP
    )
    pool = Pool.objects.create(batch=batch)
    ids = {"batch": batch.pk, "prompt": prompt.pk, "pool": pool.pk, "protocol": protocol.pk, "project": project.pk}
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")  # a million foreign keys are known to be right
        cursor.execute(_literal(BUILD, {**ids, "tasks": tasks}))
    return ids


def labeler(ids: dict[str, int], done: int) -> int:
    """A person who has done so many tasks of the batch; returns the annotator's id."""
    from django.db import connection, transaction

    from labelapp.models import Annotator

    annotator = Annotator.objects.create(project_id=ids["project"], kind="simulated", name=f"did {done}")
    if done:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_literal(DONE, {**ids, "annotator": annotator.pk, "done": done}))
    return annotator.pk


def _literal(sql: str, values: dict[str, int]) -> str:
    """Several statements at once take no parameters; these values are all whole numbers of our own."""
    return sql % {name: int(value) for name, value in values.items()}


def measure(annotator_id: int, times: int, *, rescan: bool) -> dict[str, float]:
    """The query alone, and the whole take around it, both rolled back each time."""
    from django.db import transaction

    from labelapp.labeling.services.seats import seat_find, seat_take
    from labelapp.models import Annotator

    annotator = Annotator.objects.get(pk=annotator_id)
    queries, takes = [], []
    for _ in range(times):
        with transaction.atomic():
            start = time.perf_counter()
            found = seat_find(annotator, rescan=rescan)
            queries.append((time.perf_counter() - start) * 1000)
            transaction.set_rollback(True)
        with transaction.atomic():
            start = time.perf_counter()
            seat_take(annotator_id=annotator_id)
            takes.append((time.perf_counter() - start) * 1000)
            transaction.set_rollback(True)
        if found is None:
            raise RuntimeError("The queue was empty; nothing was measured.")
    return {
        "p50_ms": round(statistics.median(queries), 2),
        "p95_ms": round(statistics.quantiles(queries, n=20)[-1], 2),
        "take_p50_ms": round(statistics.median(takes), 2),
    }


def numbers(text: str) -> list[int]:
    """ "1e4,1e6" as whole numbers."""
    return [int(float(part)) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--open", type=numbers, default="1e4,1e6,3e6", help="open seats, three to a task")
    parser.add_argument("--done", type=numbers, default="0,1e4", help="tasks the labeler has done")
    parser.add_argument("--takes", type=int, default=300)
    parser.add_argument("--quick", action="store_true", help="small queues, within a minute")
    options = parser.parse_args()
    if options.quick:
        options.open, options.done, options.takes = [3_000, 30_000], [0, 500], 50
    rows = []
    with fresh_database("queue"):
        from django.db import connection

        for open_seats in options.open:
            ids = build(open_seats // OVERLAP)
            people = [(done, labeler(ids, done)) for done in options.done if done <= open_seats // OVERLAP]
            with connection.cursor() as cursor:
                cursor.execute("VACUUM ANALYZE")
            for done, annotator_id in people:
                measure(annotator_id, 10, rescan=False)
                for rescan in [False, True] if done else [False]:
                    figures = measure(annotator_id, 20 if rescan else options.takes, rescan=rescan)
                    rows.append({"open": open_seats, "done": done, "rescan": rescan, **figures})
                    print(json.dumps(rows[-1]), file=sys.stderr)
        connection.close()
    print(json.dumps({"rows": rows}))


if __name__ == "__main__":
    main()
