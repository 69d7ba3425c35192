import io
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from labelapp.ops.children import Program
from labelapp.ops.supervisor import StopRequestedError, Supervisor
from tests.ops.processes import eventually, lives, python

SUPERVISE = """
import os, signal, sys
from pathlib import Path
from labelapp.ops.children import Program
from labelapp.ops.supervisor import Supervisor
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # whoever runs the tests may have used nohup
with Supervisor(sys.stdout) as supervisor:
    for stage, code in enumerate(sys.argv[1:]):
        command = (sys.executable, "-c", code)
        supervisor.start(Program(f"p{stage}", command, os.environ, Path("/"), stage=stage, stop_seconds=3))
    supervisor.run()
print("all stopped", flush=True)
"""
STAY = "import os, time; print('pid', os.getpid(), flush=True); time.sleep(60)"
DEAF = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {STAY}"
WITH_CHILD = "import os, subprocess, time; print('pid', subprocess.Popen(['sleep', '60']).pid, flush=True); os._exit(7)"
POLITE = """
import os, signal, sys, time
def leave(*_): print("goodbye", flush=True); sys.exit()
signal.signal(signal.SIGTERM, leave)
print("pid", os.getpid(), flush=True)
time.sleep(60)
"""


def program(code: str, name: str = "p") -> Program:
    return Program(name, (sys.executable, "-u", "-c", code), os.environ, Path("/"))


def pids_printed(supervisor: "subprocess.Popen[str]", count: int) -> list[int]:
    """Read its log up to that many lines that name a process."""
    assert supervisor.stdout is not None
    pids: list[int] = []
    while len(pids) < count:
        if found := re.search(r"pid (\d+)$", supervisor.stdout.readline()):
            pids.append(int(found.group(1)))
    return pids


def test_it_prefixes_what_its_children_write() -> None:
    out = io.StringIO()
    with Supervisor(out) as supervisor:
        done = supervisor.run_once(program("import sys; print('hello'); sys.stderr.write('no newline')", "greeter"))
    assert done.exit_code == 0
    assert out.getvalue() == "greeter   | hello\ngreeter   | no newline\n"


def test_it_keeps_the_lines_of_a_quiet_program_to_itself() -> None:
    out = io.StringIO()
    with Supervisor(out) as supervisor:
        child = supervisor.start_once(program("print('a\\nb'); raise SystemExit(4)"), quiet=True)
        assert supervisor.wait_for(lambda: child.exit_code is not None, 10)
    assert (child.lines, child.exit_code, out.getvalue()) == (["a", "b"], 4, "")


def test_it_starts_again_what_ended_after_a_growing_wait() -> None:
    out = io.StringIO()
    with Supervisor(out) as supervisor:
        supervisor.start(program("print('started'); raise SystemExit(7)"))
        begun = time.monotonic()
        assert supervisor.wait_for(lambda: out.getvalue().count("| started") == 3, 15)
    assert time.monotonic() - begun >= 1.5
    assert "ended with exit code 7; it is started again in 0.5 s" in out.getvalue()
    assert "it is started again in 1 s" in out.getvalue()


def test_it_starts_again_what_was_killed() -> None:
    with Supervisor(io.StringIO()) as supervisor:
        child = supervisor.start(program(STAY))
        assert child.process is not None
        first = child.process.pid
        os.kill(first, signal.SIGKILL)
        assert supervisor.wait_for(lambda: child.process is not None and child.process.pid != first, 10)
        assert child.exit_code == -signal.SIGKILL


def test_a_program_that_cannot_be_started_is_tried_again() -> None:
    tries: list[float] = []

    def trouble() -> None:
        tries.append(time.monotonic())
        if len(tries) == 1:
            raise OSError(28, "No space left on device")

    out = io.StringIO()
    with Supervisor(out) as supervisor:
        code = (sys.executable, "-c", STAY)
        supervisor.start(Program("p", code, os.environ, Path("/"), prepare=trouble))
        assert supervisor.wait_for(lambda: "| pid" in out.getvalue(), 10)
    assert len(tries) == 2
    assert "p         | cannot be started: [Errno 28] No space left on device" in out.getvalue()


def test_it_says_once_that_a_disk_is_full() -> None:
    out = io.StringIO()
    with Supervisor(out) as supervisor:
        supervisor.run_once(program("print('PANIC: No space left on device\\n' * 3)"))
    assert out.getvalue().count("A disk is full. Make room on it") == 1


def test_waiting_ends_without_the_fact() -> None:
    with Supervisor(io.StringIO()) as supervisor:
        assert not supervisor.wait_for(lambda: False, 0.2)


def test_a_stop_in_the_middle_of_a_step_ends_the_step() -> None:
    with Supervisor(io.StringIO()) as supervisor:
        child = supervisor.start_once(program("import os, signal; os.kill(os.getppid(), signal.SIGTERM); " + STAY))
        assert child.process is not None
        pid = child.process.pid
        with pytest.raises(StopRequestedError):
            supervisor.wait_for(lambda: False, 10)
    assert not lives(pid)


def test_it_gives_the_signals_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)]
    with Supervisor(io.StringIO()):
        pass
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD)] == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_one_signal_stops_all_and_lets_them_finish(number: signal.Signals) -> None:
    supervisor = python(SUPERVISE, POLITE, POLITE)
    pids = pids_printed(supervisor, 2)
    supervisor.send_signal(number)
    log, _ = supervisor.communicate(timeout=20)
    assert supervisor.returncode == 0
    assert log.splitlines() == ["p1        | goodbye", "p0        | goodbye", "all stopped"]
    assert not any(lives(pid) for pid in pids)


def test_a_child_that_does_not_listen_is_killed_in_bounded_time() -> None:
    supervisor = python(SUPERVISE, DEAF)
    (pid,) = pids_printed(supervisor, 1)
    begun = time.monotonic()
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(20) == 0
    assert 3 <= time.monotonic() - begun < 10
    assert not lives(pid)


def test_a_second_signal_kills_at_once() -> None:
    supervisor = python(SUPERVISE, DEAF)
    pids_printed(supervisor, 1)
    begun = time.monotonic()
    supervisor.send_signal(signal.SIGINT)
    time.sleep(0.3)
    supervisor.send_signal(signal.SIGINT)
    assert supervisor.wait(20) == 0
    assert time.monotonic() - begun < 2.5


def test_what_a_dead_child_left_behind_is_killed_before_it_is_started_again() -> None:
    supervisor = python(SUPERVISE, WITH_CHILD)
    first, second = pids_printed(supervisor, 2)
    assert not lives(first)
    supervisor.terminate()
    supervisor.wait(20)
    assert eventually(lambda: not lives(second))


def test_no_child_survives_a_killed_supervisor() -> None:
    supervisor = python(SUPERVISE, STAY, POLITE)
    pids = pids_printed(supervisor, 2)
    supervisor.kill()
    supervisor.wait()
    assert eventually(lambda: not any(lives(pid) for pid in pids))


def test_it_stops_when_nobody_reads_its_log() -> None:
    chatty = "import time\nwhile True: print('x', flush=True); time.sleep(0.05)"
    supervisor = python(SUPERVISE, chatty)
    assert supervisor.stdout is not None
    supervisor.stdout.readline()
    supervisor.stdout.close()
    assert supervisor.wait(20) != -signal.SIGPIPE
