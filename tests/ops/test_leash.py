import os
import signal
import stat
import subprocess
from pathlib import Path

import pytest

from labelapp.ops.leash import CANNOT_RUN, leashed
from tests.ops.processes import eventually, lives, python

HOLDER = """
import signal, subprocess, sys, time
from labelapp.ops.leash import leashed
child = subprocess.Popen(leashed(["sleep", "60"], signal.SIGTERM))
print(child.pid, flush=True)
time.sleep(60)
"""
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


def run(command: list[str], identity: str) -> str:
    leash = leashed(command, signal.SIGTERM, identity)
    return subprocess.run(leash, capture_output=True, text=True, check=True).stdout.strip()


def test_it_becomes_the_program_and_keeps_the_process_id() -> None:
    process = subprocess.Popen(leashed(["sh", "-c", "echo $$"], signal.SIGTERM), stdout=subprocess.PIPE, text=True)
    assert process.communicate()[0].strip() == str(process.pid)


def test_the_program_ends_when_its_parent_is_killed() -> None:
    holder = python(HOLDER)
    assert holder.stdout is not None
    leashed_pid = int(holder.stdout.readline())
    assert lives(leashed_pid)
    holder.kill()
    holder.wait()
    assert eventually(lambda: not lives(leashed_pid))


def test_it_does_not_start_for_another_parent() -> None:
    command = leashed(["echo", "started"], signal.SIGTERM)
    command[command.index(str(os.getpid()))] = "1"
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == CANNOT_RUN
    assert done.stdout == ""


def test_it_says_what_cannot_be_run() -> None:
    done = subprocess.run(leashed(["/nowhere/postgres"], signal.SIGTERM), capture_output=True, text=True)
    assert done.returncode == CANNOT_RUN
    assert "/nowhere/postgres cannot be run as self" in done.stderr


@AS_ROOT
def test_it_becomes_another_user_for_good() -> None:
    assert run(["id", "-u"], "65534:65534") == "65534"
    assert run(["id", "-G"], "65534:65534") == "65534"


@AS_ROOT
def test_another_user_is_on_the_leash_too() -> None:
    holder = python(HOLDER.replace("signal.SIGTERM)", "signal.SIGTERM, '65534:65534')"))
    assert holder.stdout is not None
    leashed_pid = int(holder.stdout.readline())
    assert eventually(lambda: Path(f"/proc/{leashed_pid}/comm").read_text().strip() == "sleep")
    holder.kill()
    holder.wait()
    assert eventually(lambda: not lives(leashed_pid))


@AS_ROOT
def test_in_a_namespace_it_is_an_ordinary_user_whose_files_stay_ours(tmp_path: Path) -> None:
    try:
        who = run(["sh", "-c", f"umask 077; id -u; echo x > {tmp_path}/made"], "namespace:4321")
    except subprocess.CalledProcessError as error:
        assert "cannot be run as namespace:4321" in error.stderr  # noqa: PT017
        pytest.skip("user namespaces are refused here")
    made = (tmp_path / "made").stat()
    assert who == "4321"
    assert made.st_uid == os.geteuid()
    assert stat.S_IMODE(made.st_mode) == 0o600
