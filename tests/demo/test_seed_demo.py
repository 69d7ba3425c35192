"""`manage.py seed_demo`, in this process and as processes that are killed or meet."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from pytest_django.fixtures import Settings

from labelapp.demo.accounts import accounts_kept, accounts_path
from labelapp.models import Job, Project, User

WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'labelapp_seat'::regclass"


def test_it_says_what_it_did(db: None, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("seed_demo")
    assert str(accounts_path()) in capsys.readouterr().out
    call_command("seed_demo")
    assert capsys.readouterr().out == "The demo was made before; nothing is changed.\n"


def test_it_prints_the_accounts_and_makes_none(db: None, capsys: pytest.CaptureFixture[str]) -> None:
    call_command("seed_demo", "--print-accounts")
    assert capsys.readouterr().out == "There is no demo project here.\n"
    call_command("seed_demo")
    call_command("seed_demo", "--print-accounts")
    printed = capsys.readouterr().out
    assert all(account.password in printed for account in accounts_kept())


def test_it_fails_with_the_reason(db: None, settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings.ARTIFACT_ROOT = tmp_path / "file"
    with pytest.raises(CommandError, match="Nothing half-made was kept"):
        call_command("seed_demo")


@pytest.mark.services
@pytest.mark.django_db(transaction=True)
def test_a_kill_on_the_way_leaves_nothing_and_the_next_start_makes_all(seeders: "Seeders") -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("LOCK TABLE labelapp_seat IN EXCLUSIVE MODE")
        killed = seeders.start()
        _wait_for_one_in_the_middle()
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    assert not Project.objects.exists()
    assert not User.objects.exists()
    assert seeders.start().wait(60) == 0
    assert set(Project.objects.values_list("slug", flat=True)) == {"demo", "notes"}
    assert set(Job.objects.exclude(kind="sample").values_list("state", flat=True)) == {"succeeded"}


@pytest.mark.services
@pytest.mark.django_db(transaction=True)
def test_two_at_once_make_one_demo(seeders: "Seeders") -> None:
    both = [seeders.start(), seeders.start()]
    assert [seeder.wait(60) for seeder in both] == [0, 0]
    assert Project.objects.count() == 2
    assert {account.email for account in accounts_kept()} == set(User.objects.values_list("email", flat=True))
    for account in accounts_kept():
        assert User.objects.get(email=account.email).check_password(account.password)


class Seeders:
    """Processes that run the command on the database of the tests."""

    def __init__(self) -> None:
        self.processes: list[subprocess.Popen[bytes]] = []

    def start(self) -> "subprocess.Popen[bytes]":
        at = connection.settings_dict
        login = quote(at["USER"]) + (f":{quote(at['PASSWORD'])}" if at["PASSWORD"] else "")
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.settings",
            "DATABASE_URL": f"postgresql://{login}@{quote(at['HOST'], safe='')}:{at['PORT']}/{at['NAME']}",
            "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
            "PREFLOOP_VAR": str(settings.VAR_DIR),
        }
        command = [sys.executable, "manage.py", "seed_demo"]
        process = subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment)
        self.processes.append(process)
        return process


@pytest.fixture
def seeders() -> Iterator[Seeders]:
    started = Seeders()
    yield started
    for process in started.processes:
        process.kill()
        process.wait()


def _wait_for_one_in_the_middle() -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with connection.cursor() as cursor:
            cursor.execute(WAITING)
            if cursor.fetchone()[0]:
                return
        time.sleep(0.05)
    pytest.fail("No process came as far as the seats.")
