import os
import signal
import stat
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from labelapp.ops.leftovers import servers_in
from labelapp.ops.postgres import MAJOR, EmbeddedPostgres
from labelapp.ops.server import InUseError, ServerError, running, start
from tests.ops.processes import eventually, lives, python

pytestmark = pytest.mark.services

OWNER = """
import sys, time
from pathlib import Path
from labelapp.ops.postgres import EmbeddedPostgres
from labelapp.ops.server import running
server = EmbeddedPostgres(Path(sys.argv[1]))
with running(server) as process:
    print(process.pid, server.url, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that a server can be run in as another user too: pytest's own are closed to all others."""
    return tmp_path / "var" / "postgres"


@contextmanager
def served(folder: Path) -> Iterator[tuple[EmbeddedPostgres, "subprocess.Popen[bytes]"]]:
    server = EmbeddedPostgres(folder)
    with running(server) as process:
        yield server, process


def ask(server: EmbeddedPostgres, statement: str) -> list[tuple[object, ...]]:
    with psycopg.connect(server.url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def owned_server(folder: Path) -> "tuple[subprocess.Popen[str], int]":
    """Start another process that runs a server on the folder; return it and the server's process id."""
    owner = python(OWNER, str(folder))
    assert owner.stdout is not None
    return owner, int(owner.stdout.readline().split()[0])


def test_it_makes_a_database_that_answers_by_its_address(folder: Path) -> None:
    with served(folder) as (server, _):
        (row,) = ask(server, "SELECT current_user, current_database(), current_setting('server_encoding')")
        assert row == ("app", "app", "UTF8")
        assert ask(server, "SHOW fsync") == [("on",)]
        assert ask(server, "SHOW listen_addresses") == [("127.0.0.1",)]


def test_it_asks_for_the_password(folder: Path) -> None:
    with served(folder) as (server, _):
        for user in ("app", "postgres"):
            with pytest.raises(psycopg.OperationalError, match=r"password|authentication"):
                psycopg.connect(f"postgresql://{user}:wrong@127.0.0.1:{server.port}/app")


def test_its_secrets_are_private_and_not_on_the_command_line(folder: Path) -> None:
    with served(folder) as (server, process):
        server.publish()
        for path in (folder / "password", folder / "url"):
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(server.data.stat().st_mode) == 0o700
        password = (folder / "password").read_text()
        assert password.encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert not list(folder.glob("initdb*"))
    assert not (folder / "url").exists()


def test_rows_are_there_after_a_restart(folder: Path) -> None:
    with served(folder) as (server, _):
        ask(server, "CREATE TABLE kept AS SELECT 7 AS number")
    with served(folder) as (server, _):
        assert ask(server, "SELECT number FROM kept") == [(7,)]


def test_acknowledged_rows_survive_a_kill_in_the_middle_of_work(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    server.open()
    process = start(server)
    acknowledged: list[int] = []

    def write() -> None:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE written (number int)")
            for number in range(1_000_000):
                connection.execute("INSERT INTO written VALUES (%s)", [number])
                acknowledged.append(number)

    def write_until_killed() -> None:
        with pytest.raises(psycopg.OperationalError):
            write()

    writer = threading.Thread(target=write_until_killed)
    writer.start()
    assert eventually(lambda: len(acknowledged) > 50)
    process.kill()
    process.wait()
    writer.join()
    process = start(server)  # same port, same password
    found = {row[0] for row in ask(server, "SELECT number FROM written")}
    process.send_signal(server.stop_signal)
    process.wait(20)
    server.close()
    assert set(acknowledged) <= found


def test_it_starts_again_at_once_though_clients_were_connected(folder: Path) -> None:
    server = EmbeddedPostgres(folder)
    server.open()
    process = start(server)
    with psycopg.connect(server.url):
        process.kill()
        process.wait()
        process = start(server)
        assert ask(server, "SELECT 1") == [(1,)]
    process.send_signal(server.stop_signal)
    assert process.wait(20) == 0
    server.close()


def test_the_server_of_a_killed_owner_is_replaced(folder: Path) -> None:
    owner, pid = owned_server(folder)
    owner.kill()
    owner.wait()
    with served(folder) as (server, process):
        assert not lives(pid)
        assert process.pid != pid
        assert ask(server, "SELECT 1") == [(1,)]


def test_the_server_of_a_living_owner_is_left_alone(folder: Path) -> None:
    owner, pid = owned_server(folder)
    with pytest.raises(InUseError, match=f"Another program runs postgres on {folder}"):
        EmbeddedPostgres(folder).open()
    assert lives(pid)
    owner.send_signal(signal.SIGINT)
    owner.wait(20)
    assert not lives(pid)


@pytest.mark.parametrize("pid", [1, os.getpid(), 4_000_000], ids=["another's", "our own", "nobody's"])
def test_a_stale_pid_file_is_removed(folder: Path, pid: int) -> None:
    with served(folder) as (server, _):
        data = server.data
    (data / "postmaster.pid").write_text(f"{pid}\n{data}\n")
    with served(folder) as (server, _):
        assert ask(server, "SELECT 1") == [(1,)]
    assert not (data / "postmaster.pid").exists()


def test_data_of_another_major_version_is_refused_and_untouched(folder: Path) -> None:
    with served(folder) as (server, _):
        data = server.data
    (data / "PG_VERSION").write_text("16\n")
    with pytest.raises(ServerError, match=rf"written by PostgreSQL 16; the one here is {MAJOR}.*pg_dump, move"):
        EmbeddedPostgres(folder).open()
    (data / "PG_VERSION").write_text(f"{MAJOR}\n")
    with served(folder) as (server, _):
        assert ask(server, "SELECT 1") == [(1,)]


def test_a_folder_that_is_no_data_folder_is_refused(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "holiday.jpg").write_text("x")
    with pytest.raises(ServerError, match=r"holds no PostgreSQL data.*Move it away"):
        EmbeddedPostgres(folder).open()
    assert (folder / "data" / "holiday.jpg").exists()


def test_a_half_made_data_folder_is_made_anew(folder: Path) -> None:
    (folder / "data.new").mkdir(parents=True)
    (folder / "data.new" / "PG_VERSION").write_text("18\n")
    with served(folder) as (server, _):
        assert ask(server, "SELECT 1") == [(1,)]
    assert not (folder / "data.new").exists()


def test_a_lost_password_is_replaced(folder: Path) -> None:
    with served(folder) as (server, _):
        ask(server, "CREATE TABLE kept AS SELECT 7 AS number")
    (folder / "password").unlink()
    with served(folder) as (server, _):
        assert ask(server, "SELECT number FROM kept") == [(7,)]


def test_it_copes_with_a_long_path_and_odd_characters(tmp_path: Path) -> None:
    with served(tmp_path / ("long-" * 30) / 'it\'s a "folder" é' / "postgres") as (server, _):
        assert ask(server, "SELECT 1") == [(1,)]


def test_nothing_of_it_is_left_after_a_stop(folder: Path) -> None:
    with served(folder) as (server, process):
        data = server.data
        assert process.pid in servers_in(data, ["postgres"])
    assert servers_in(data, ["postgres"]) == []
