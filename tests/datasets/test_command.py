"""`manage.py import`."""

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from labelapp.jobs.execution import job_execute
from labelapp.jobs.services import job_claim, jobs_reap
from labelapp.models import Job, Membership, Project, Prompt, User
from tests.datasets.conftest import prompts, table_counts
from tests.jobs.conftest import age

Write = Callable[..., Path]
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class Said:
    """What the command said, and whether it failed."""

    text: str
    failure: str = ""


def command(path: Path, *options: str) -> Said:
    out = io.StringIO()
    try:
        call_command("import", str(path), *options, stdout=out)
    except CommandError as error:
        return Said(out.getvalue(), str(error))
    return Said(out.getvalue())


def environment(**changes: str) -> dict[str, str]:
    """For a process of its own on the test's database."""
    settings = connection.settings_dict
    secret = f":{settings['PASSWORD']}" if settings["PASSWORD"] else ""
    place = f"{settings['HOST']}:{settings['PORT']}/{settings['NAME']}"
    return os.environ | {"DATABASE_URL": f"postgresql://{settings['USER']}{secret}@{place}"} | changes


def test_it_imports_and_sums_up(write: Write, project: Project) -> None:
    said = command(write(prompts(20)), "--project", "Garden helper")
    job = Job.objects.get()
    assert said.failure == ""
    assert said.text.splitlines() == [
        f"Importing rows.jsonl into Garden helper (job {job.pk}).",
        "20 rows read, 0 rejected.",
        "New: 20 prompts, 60 completions, 2 annotations, 2 demonstrations.",
    ]
    assert (job.state, job.created_by) == (Job.State.SUCCEEDED, None)


@pytest.mark.parametrize("name", ["garden-helper", "garden HELPER"])
def test_a_project_goes_by_name_or_short_name(write: Write, project: Project, name: str) -> None:
    assert command(write(prompts(1)), "--project", name).failure == ""
    assert Prompt.objects.get().project == project


def test_an_unknown_project_is_answered_with_those_there_are(write: Write, project: Project) -> None:
    failure = command(write(prompts(1)), "--project", "Garden").failure
    assert "There is no project “Garden”. There are: “Garden helper”." in failure
    assert "--create" in failure
    assert not Job.objects.exists()


def test_the_first_project_has_to_be_made(write: Write, db: None) -> None:
    assert "There is none yet." in command(write(prompts(1)), "--project", "Garden").failure


def test_a_name_that_two_projects_bear_is_not_enough(write: Write, project: Project) -> None:
    Project.objects.create(name="Garden helper", slug="garden-helper-2")
    failure = command(write(prompts(1)), "--project", "Garden helper").failure
    assert "garden-helper, garden-helper-2" in failure
    assert command(write(prompts(1)), "--project", "garden-helper-2").failure == ""


def test_create_makes_the_project(write: Write, stan: User) -> None:
    User.objects.filter(pk=stan.pk).update(is_staff=True)
    assert command(write(prompts(1)), "--project", "Orchard", "--create").failure == ""
    project = Project.objects.get(name="Orchard")
    assert project.prompts.count() == 1
    assert Membership.objects.get(project=project).user == stan
    assert command(write(prompts(1)), "--project", "Orchard", "--create").failure == ""
    assert Project.objects.filter(name="Orchard").count() == 1


def test_create_needs_a_site_administrator(write: Write, db: None) -> None:
    assert "createsuperuser" in command(write(prompts(1)), "--project", "Orchard", "--create").failure
    assert not Project.objects.exists()


def test_bad_rows_are_shown_and_do_not_fail_it(write: Write, project: Project) -> None:
    said = command(write([*prompts(1), {"prompt": " "}]), "--project", "Garden helper")
    assert said.failure == ""
    assert "2 rows read, 1 rejected." in said.text
    assert "  line 2, prompt: It is empty." in said.text
    path = Path(said.text.split("each with its reason: ")[1].strip())
    assert b'"line": 2' in path.read_bytes()


def test_strict_fails_on_a_bad_row(write: Write, project: Project) -> None:
    said = command(write([*prompts(1), {"prompt": " "}]), "--project", "Garden helper", "--strict")
    assert said.failure.startswith("Nothing was imported: 1 of 2 rows is bad")
    assert "  line 2, prompt: It is empty." in said.text
    assert not Prompt.objects.exists()


def test_an_empty_file_fails(write: Write, project: Project) -> None:
    assert "is empty" in command(write([]), "--project", "Garden helper").failure


def test_a_missing_file_is_said_before_anything_else(tmp_path: Path) -> None:
    assert command(tmp_path / "none.jsonl", "--project", "x").failure.endswith("none.jsonl.")


def test_no_database_is_said_quickly_and_plainly(write: Write) -> None:
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "manage.py", "import", str(write(prompts(1))), "--project", "x"],
        cwd=ROOT,
        env=os.environ | {"DATABASE_URL": "postgresql://app@127.0.0.1:1/app"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "The database does not answer. Start it with `make run`" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - started < 15


@pytest.fixture
def at_work(transactional_db: None, write: Write, tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """The command in a process of its own, in the middle of a file of 6,000 rows."""
    project = Project.objects.create(name="Garden helper", slug="garden-helper")
    worker = subprocess.Popen(
        [sys.executable, "manage.py", "import", str(write(prompts(6_000))), "--project", project.name],
        cwd=ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not Prompt.objects.exists():
        assert worker.poll() is None, worker.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    yield worker
    worker.kill()
    worker.communicate()


@pytest.mark.services
def test_a_killed_command_is_continued_by_a_worker(at_work: subprocess.Popen[str]) -> None:
    at_work.kill()
    at_work.wait()
    job = Job.objects.get()
    assert job.state == Job.State.RUNNING
    assert 0 < Prompt.objects.count() == job.cursor["line"] < 6_000
    age(job, 100)
    jobs_reap()
    run = job_claim(job.pk)
    assert run is not None
    job_execute(run)
    job.refresh_from_db()
    new = {"prompts": 6_000, "completions": 18_000, "annotations": 600, "demonstrations": 600}
    assert (job.state, job.result["new"]) == (Job.State.SUCCEEDED, new)
    counts = table_counts()
    assert {kind: counts[kind.title().removesuffix("s")] for kind in new} == new
    assert counts["TaskCompletion"] == 1_800


@pytest.mark.services
def test_ctrl_c_stops_the_job_and_says_what_stays(at_work: subprocess.Popen[str]) -> None:
    at_work.send_signal(signal.SIGINT)
    _, errors = at_work.communicate(timeout=30)
    assert at_work.returncode == 1
    assert "Stopped. What was saved stays; the same command again brings in the rest." in errors
    assert "Traceback" not in errors
    job = Job.objects.get()
    assert job.state == Job.State.CANCELLED
    assert Prompt.objects.count() == job.cursor["line"] < 6_000
