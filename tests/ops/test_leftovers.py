import os
import signal
import subprocess
import time
from pathlib import Path

from labelapp.ops.leftovers import MARK, end_processes, marked_processes, servers_in
from tests.ops.processes import eventually, python

STUBBORN = (
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
)


def sleeper(mark: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: mark})


def test_it_finds_processes_by_their_whole_mark(tmp_path: Path) -> None:
    ours, theirs = sleeper(f"{tmp_path}/a"), sleeper(f"{tmp_path}/ab")
    try:
        assert eventually(lambda: marked_processes(f"{tmp_path}/a") == [ours.pid])
    finally:
        for process in (ours, theirs):
            process.kill()
            process.wait()
    assert marked_processes(f"{tmp_path}/a") == []


def test_it_finds_servers_by_the_folder_they_work_in(tmp_path: Path) -> None:
    inside = subprocess.Popen(["sleep", "60"], cwd=tmp_path)
    outside = subprocess.Popen(["sleep", "60"], cwd="/")
    try:
        assert eventually(lambda: servers_in(tmp_path, ["sleep"]) == [inside.pid])
        assert servers_in(tmp_path, ["postgres"]) == []
    finally:
        for process in (inside, outside):
            process.kill()
            process.wait()


def test_it_ends_a_process_by_the_first_signal_that_works(tmp_path: Path) -> None:
    deaf = python(STUBBORN, env={**os.environ, MARK: str(tmp_path)})
    assert deaf.stdout is not None
    deaf.stdout.readline()
    begun = time.monotonic()
    ended = end_processes(
        lambda: [pid for pid in marked_processes(str(tmp_path)) if deaf.poll() is None],
        [(signal.SIGTERM, 0.3), (signal.SIGKILL, 10.0)],
    )
    assert ended == [deaf.pid]
    assert deaf.wait() == -signal.SIGKILL
    assert 0.3 <= time.monotonic() - begun < 5


def test_nothing_to_end_takes_no_time() -> None:
    begun = time.monotonic()
    assert end_processes(lambda: [], [(signal.SIGTERM, 60.0)]) == []
    assert time.monotonic() - begun < 1
