"""The product's web server for a benchmark, and what it and its database cost."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
PROC = Path("/proc")


@contextmanager
def web_server(port: int) -> Iterator[subprocess.Popen[bytes]]:
    """uvicorn with two processes, as `manage.py up` runs it, once it answers."""
    command = [sys.executable, "-m", "uvicorn", "labelapp.asgi:application", "--port", str(port), "--workers", "2"]
    quiet = ["--lifespan", "off", "--no-access-log", "--log-level", "warning"]
    server = subprocess.Popen([*command, *quiet], cwd=ROOT)
    try:
        wait_for(f"http://127.0.0.1:{port}/health")
        yield server
    finally:
        server.terminate()
        server.wait(20)


def cpu_seconds(roots: list[int]) -> float:
    """User and system seconds of these processes and all below them, ended ones included."""
    times, parents = {}, {}
    for stat in PROC.glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):  # it ended meanwhile; its parent has its time
            continue
        pid = int(stat.parent.name)
        parents[pid], times[pid] = int(fields[1]), sum(map(int, fields[11:15]))
    family = set(roots)
    while grown := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= grown
    return sum(times.get(pid, 0) for pid in family) / os.sysconf("SC_CLK_TCK")


def wait_for(url: str, seconds: float = 60) -> None:
    """Wait until the address answers. Raises TimeoutError."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.1)
    raise TimeoutError(f"{url} did not answer within {seconds:.0f} s")
