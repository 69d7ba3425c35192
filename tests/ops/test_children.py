import os
import sys
import time
from pathlib import Path

from labelapp.ops.children import Backoff, Child, Program, ending
from tests.ops.processes import eventually, lives


def child(code: str, ready_word: str = "") -> Child:
    program = Program("p", (sys.executable, "-u", "-c", code), os.environ, Path("/"), ready_word=ready_word)
    return Child(program, restarts=True)


def test_the_wait_doubles_to_half_a_minute() -> None:
    backoff = Backoff()
    assert [backoff.after(1) for _ in range(8)] == [0.5, 1, 2, 4, 8, 16, 30, 30]


def test_the_wait_begins_again_after_a_steady_minute() -> None:
    backoff = Backoff()
    assert [backoff.after(59), backoff.after(59), backoff.after(60), backoff.after(1)] == [0.5, 1, 0.5, 1]


def test_an_ending_is_told_in_words() -> None:
    assert ending(3) == "ended with exit code 3"
    assert ending(-9) == "was ended by SIGKILL"


def test_the_output_is_all_read_up_to_the_end() -> None:
    runner = child("print('x\\n' * 40000, end='last')")
    output = runner.spawn()
    lines, more = [], True
    while more:
        new, more = output.read()
        lines += new
        time.sleep(0.001)
    assert len(lines) == 40001
    assert lines[-1] == "last"
    assert eventually(runner.has_ended)
    assert runner.exit_code == 0
    output.stream.close()


def test_an_end_is_noticed_once_and_takes_the_group_along() -> None:
    runner = child("import subprocess; print(subprocess.Popen(['sleep', '60']).pid)")
    output = runner.spawn()
    lines: list[str] = []
    assert eventually(lambda: bool(lines.extend(output.read()[0]) or lines))
    assert eventually(runner.has_ended)
    assert not runner.has_ended()
    assert eventually(lambda: not lives(int(lines[0])))
    output.stream.close()


def test_it_is_ready_once_it_says_so_and_not_after_a_restart() -> None:
    runner = child("print('short@host ready.')", ready_word="short@")
    output = runner.spawn()
    for line, ready in (("short@host starting", False), ("other@host ready", False), ("short@host ready.", True)):
        runner.note(line)
        assert runner.ready is ready
    assert eventually(runner.has_ended)
    output.stream.close()
    again = runner.spawn()
    assert not runner.ready
    assert eventually(runner.has_ended)
    again.stream.close()
