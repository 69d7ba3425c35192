"""A test that hangs is ended and shown; one of a browser is tried once more."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ops.processes import ROOT

PAGES = """
import os, pathlib, time
import pytest
from greenlet import greenlet

def wait_for_an_answer():
    time.sleep(60)

def test_answers():
    pass

@pytest.mark.parametrize("number", range(int(os.environ["TESTS"])))
def test_of_a_page(number):
    tried = pathlib.Path(os.environ["TRIED"], str(number))
    tries = int(tried.read_text()) if tried.exists() else 0
    tried.write_text(str(tries + 1))
    if number == 1 and tries < int(os.environ["HANGS"]):
        greenlet(wait_for_an_answer).switch()
"""


class Run:
    """A run of pytest over a folder of its own, in which one test hangs the first `hangs` times."""

    def __init__(self, folder: Path, name: str, hangs: int, *options: str) -> None:
        place = folder / name
        place.mkdir()
        self.tried = folder / "tried"
        self.tried.mkdir()
        (place / "test_pages.py").write_text(PAGES)
        without = [option for name in ("django", "cacheprovider", "warnings") for option in ("-p", f"no:{name}")]
        outside = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
        settings = {"PREFLOOP_VAR": str(folder), "PREFLOOP_TEST_PATIENCE": "3", "HANGS": str(hangs), "TESTS": "4"}
        process = subprocess.run(
            [
                *[sys.executable, "-m", "pytest", "-c", os.devnull, "--rootdir", str(folder), *without],
                *["-p", "tests.hanging", *options, str(place)],
            ],
            cwd=ROOT,
            env={**outside, **settings, "TRIED": str(self.tried)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        self.status, self.printed = process.returncode, process.stdout

    def tries(self) -> list[int]:
        """How often each test of a page was begun."""
        return [int((self.tried / str(number)).read_text()) for number in range(4)]


@pytest.mark.parametrize("options", [["-n", "1"], ["-n", "2", "--dist", "worksteal"]], ids=" ".join)
def test_a_browser_that_hangs_once_is_replaced(tmp_path: Path, options: list[str]) -> None:
    run = Run(tmp_path, "browser", 1, *options)
    assert (run.status, run.tries()) == (0, [1, 2, 1, 1]), run.printed
    assert "5 passed, 1 rerun" in run.printed
    assert "browser/test_pages.py::test_of_a_page[1] hangs; its process was ended after 3 s" in run.printed
    assert "in wait_for_an_answer" in run.printed  # though the thread itself stands in another greenlet


def test_one_that_hangs_again_has_failed_and_the_others_pass(tmp_path: Path) -> None:
    run = Run(tmp_path, "browser", 2, "-n", "2")
    assert (run.status, run.tries()) == (1, [1, 2, 1, 1]), run.printed
    assert "1 failed, 4 passed, 1 rerun" in run.printed
    assert "in wait_for_an_answer" in run.printed.partition("= FAILURES =")[2]


def test_what_is_no_browser_test_gets_no_second_try(tmp_path: Path) -> None:
    run = Run(tmp_path, "services", 1, "-n", "2", "--dist", "worksteal")
    assert (run.status, run.tries()) == (1, [1, 1, 1, 1]), run.printed
    assert "1 failed, 4 passed" in run.printed


def test_without_xdist_the_run_ends_and_says_where(tmp_path: Path) -> None:
    run = Run(tmp_path, "browser", 1, "-p", "no:xdist")
    assert run.status == 70
    assert "in wait_for_an_answer" in run.printed


def test_a_process_that_died_otherwise_has_failed(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text("import os\n\ndef pytest_runtest_call(item):\n    os._exit(3)\n")
    run = Run(tmp_path, "browser", 0, "-n", "1", "-k", "answers")
    assert run.status == 1
    assert "crashed while running" in run.printed
