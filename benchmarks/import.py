"""Streaming in: rows with a prompt and two completions, about a kilobyte each, through the job that an upload starts.

    python benchmarks/import.py --rows 1e6
    python benchmarks/import.py --quick

Makes its own file and database under `var/bench` and removes both. The memory is that of the importing process at its
peak, the file's making included. `--labels` gives each row a ranking and ratings as well. Prints one JSON line.
"""

import argparse
import json
import os
import random
import resource
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.rig.database import VAR, fresh_database

QUICK_ROWS = 20_000
SENTENCES = 5_000
PROMPT_SENTENCES, ANSWER_SENTENCES = 2, 5
"""Together about a kilobyte a row."""


def sentences() -> list[str]:
    """Different sentences to put texts together from."""
    chance = random.Random(17)
    words = ["".join(chance.choices("aeioubdklmnprst", k=chance.randint(2, 9))) for _ in range(2_000)]
    return [" ".join(chance.choices(words, k=14)).capitalize() + "." for _ in range(SENTENCES)]


def file_make(path: Path, rows: int, *, labels: bool) -> None:
    """Write an import file, a line at a time."""
    chance, said = random.Random(4), sentences()
    ranking = [{"annotator": "crowd-1", "order": ["a", "b"]}]
    ratings = [{"annotator": "crowd-1", "completion": name, "likert": 4} for name in "ab"]
    with path.open("w", encoding="utf-8") as file:
        for number in range(rows):
            row = {
                "id": number,
                "prompt": f"{number}: " + " ".join(chance.choices(said, k=PROMPT_SENTENCES)),
                "source": "benchmark",
                "language": "en",
                "tags": ["benchmark"],
                "completions": [
                    {"id": name, "text": " ".join(chance.choices(said, k=ANSWER_SENTENCES)), "model": f"model-{name}"}
                    for name in "ab"
                ],
                **({"rankings": ranking, "ratings": ratings} if labels else {}),
            }
            file.write(json.dumps(row) + "\n")


def measure(path: Path) -> dict[str, float]:
    """Import the file and say what it cost. Django must be set up."""
    from labelapp.artifacts.services import artifact_publish
    from labelapp.datasets import tasks  # noqa: F401 (registers the job handler)
    from labelapp.datasets.services import import_begin
    from labelapp.jobs.execution import job_execute
    from labelapp.models import Artifact, Job, Project

    project = Project.objects.create(name="Import", slug="import")
    started, cpu = time.perf_counter(), time.process_time()
    artifact = artifact_publish(path=path, project=project, kind=Artifact.Kind.UPLOAD, name=path.name)
    published = time.perf_counter()
    run = import_begin(project=project, artifact=artifact, strict=False)
    job_execute(run)
    wall = time.perf_counter() - started
    job = Job.objects.get(pk=run.job.pk)
    if job.state != Job.State.SUCCEEDED or job.result["rejected"]:
        raise SystemExit(f"The import failed: {job.message} {job.error}")
    return {
        "rows_per_s": round(job.result["rows"] / wall),
        "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "rows": job.result["rows"],
        "file_mb": round(artifact.size / 1024**2),
        "wall_s": round(wall, 1),
        "publish_s": round(published - started, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
    }


def main() -> None:
    """Read the options, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=lambda text: int(float(text)), default=1_000_000)
    parser.add_argument("--labels", action="store_true", help="with a ranking and two ratings per row")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_ROWS:,} rows: well under a minute")
    options = parser.parse_args()
    folder = VAR / "import"
    os.environ["PREFLOOP_ARTIFACTS"] = str(folder / "artifacts")
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    with fresh_database("import"):
        path = folder / "rows.jsonl"
        file_make(path, QUICK_ROWS if options.quick else options.rows, labels=options.labels)
        found = measure(path)
    # The server has ended, so its processor time is known now; making the tables is part of it.
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found["server_cpu_s"] = round(after.ru_utime + after.ru_stime - children.ru_utime - children.ru_stime, 1)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
