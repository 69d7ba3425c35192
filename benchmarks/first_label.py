"""From a fresh clone to the first saved label, as a new user gets there: `make run`, sign in, rate, rank, submit.

    python benchmarks/first_label.py

Clones the committed state of this repository into `var/bench/`. `--quick` lends the clone this checkout's `.venv`, so
that nothing is installed. Prints one JSON line.
"""

import argparse
import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.rig.labelers import Labeler, Record
from benchmarks.rig.web import wait_for
from labelapp.ops.server import free_port

ROOT = Path(__file__).resolve().parent.parent
CLONE = ROOT / "var" / "bench" / "clone"


def clone(*, lend_environment: bool) -> None:
    """A checkout of its own, without anything that was made in this one."""
    shutil.rmtree(CLONE, ignore_errors=True)
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(CLONE)], check=True)
    if lend_environment:
        (CLONE / ".venv").symlink_to(ROOT / ".venv")


def first_label(port: int) -> None:
    """Sign in as the demo's labeler and submit one answer. Raises RuntimeError when it is not taken."""
    accounts = json.loads((CLONE / "var" / "demo-accounts.json").read_text())
    account = next(account for account in accounts if account["role"] == "Labeler")
    record = Record()
    person = Labeler(account["email"], account["password"], slug="demo", host="127.0.0.1", port=port, record=record)

    async def label() -> bool:
        await person.sign_in()
        task = await person.next_task()
        return task is not None and await person.submit(task)

    if not asyncio.run(label()):
        raise RuntimeError(f"The first label was not saved: {record.errors}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="use this checkout's .venv")
    options = parser.parse_args()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PREFLOOP", "VIRTUAL_ENV"))}
    environment = {name: value for name, value in kept.items() if name not in {"DATABASE_URL", "CELERY_BROKER_URL"}}
    clone(lend_environment=options.quick)
    port, start = free_port(), time.perf_counter()
    try:
        subprocess.run(["make", "--silent", "install"], cwd=CLONE, env=environment, check=True, stdout=sys.stderr)
        installed = time.perf_counter()
        up = subprocess.Popen(
            ["make", "--silent", "run", f"PORT={port}"],
            cwd=CLONE,
            env=environment,
            stdout=sys.stderr,
            start_new_session=True,
        )
        try:
            wait_for(f"http://127.0.0.1:{port}/health", 120)
            answering = time.perf_counter()
            first_label(port)
            labelled = time.perf_counter()
        finally:
            os.killpg(up.pid, signal.SIGINT)  # as Ctrl-C: to make and to what it started
            up.wait(60)
    finally:
        shutil.rmtree(CLONE, ignore_errors=True)
    figures = {
        "install_s": installed - start,
        "up_s": answering - installed,
        "first_label_s": labelled - start,
    }
    print(json.dumps({name: round(seconds, 1) for name, seconds in figures.items()}))


if __name__ == "__main__":
    main()
