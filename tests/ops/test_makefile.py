import subprocess
from pathlib import Path

import pytest

from tests.ops.processes import ROOT

TARGETS = ("install", "run", "test", "lint", "bench", "clean")


def make(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(["make", *arguments], cwd=ROOT, capture_output=True, text=True)


def test_without_a_target_it_lists_them() -> None:
    listed = make().stdout
    for target in TARGETS:
        assert f"  make {target} " in listed


@pytest.mark.parametrize("name", ["/nowhere/python3", "false"])
def test_without_a_fitting_python_it_says_what_to_install(tmp_path: Path, name: str) -> None:
    done = make("install", f"VENV={tmp_path}/venv", f"PYTHON={name}")
    assert done.returncode != 0
    assert f"Prefloop needs Python 3.11 or 3.12, and there is none by the name of: {name}." in done.stderr
    assert "make install PYTHON=/path/to/python3.12" in done.stderr
    assert not (tmp_path / "venv").exists()


def test_the_site_needs_only_the_locked_packages_of_the_core() -> None:
    planned = make("--dry-run", "--always-make", "run", "VENV=nowhere", "PORT=8999").stdout
    assert "--require-hashes -r requirements.lock" in planned
    assert "requirements-dev.lock" not in planned
    assert "manage.py up --host 127.0.0.1 --port 8999" in planned


def test_cleaning_keeps_what_people_entered() -> None:
    planned = make("--dry-run", "clean").stdout
    assert "rm -rf .venv" in planned
    assert "var/test" in planned
    assert " var " not in planned
