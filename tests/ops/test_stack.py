import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from labelapp.ops.endpoints import broker_url, database_url
from labelapp.ops.leftovers import marked_processes, servers_in
from labelapp.ops.server import free_port
from tests.ops.processes import ROOT, eventually

pytestmark = pytest.mark.services

START_SECONDS = 120


class Up:
    """A running `manage.py up` with its own data, port and log."""

    def __init__(self, var: Path, port: int, **variables: str) -> None:
        self.var, self.port = var, port
        self.log = var.with_name(f"{var.name}-{port}.log")
        outside = {
            name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "CELERY_BROKER_URL")
        }
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "up", "--no-seed", "--port", str(port)],
                cwd=ROOT,
                env={**outside, "PREFLOOP_VAR": str(var), **variables},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def text(self) -> str:
        return self.log.read_text()

    def wait_until_it_runs(self) -> None:
        assert eventually(lambda: "Prefloop is running" in self.text or self.process.poll() is not None, START_SECONDS)
        assert self.process.poll() is None, self.text

    def refused(self) -> str:
        """Wait until it gives up, and return what it said."""
        assert self.process.wait(START_SECONDS) == 1, self.text
        return self.text

    def healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5) as response:
                return bool(response.status == 200)
        except OSError:
            return False

    def children(self) -> dict[str, int]:
        """Return the process ids of web, workers, beat and servers by name."""
        found: dict[str, int] = {}
        for pid in (int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()):
            words = command_line(pid)
            if parent_of(pid) == self.process.pid and words:
                found[name_of(words)] = pid
        return found

    def leftovers(self) -> list[int]:
        servers = servers_in(self.var / "postgres" / "data", ["postgres"]) + servers_in(
            self.var / "redis", ["redis-server"]
        )
        return marked_processes(str(self.var)) + servers


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def name_of(words: str) -> str:
    signs = {"uvicorn": "web", "-n short": "short", "-n compute": "compute", " beat ": "beat", "/postgres ": "postgres"}
    return next((name for sign, name in signs.items() if sign in words), "redis")


@contextmanager
def up(var: Path, port: int | None = None, **variables: str) -> Iterator[Up]:
    """Run the site and wait until it answers; stop it afterwards and look that nothing is left."""
    site = Up(var, port or free_port(), **variables)
    try:
        site.wait_until_it_runs()
        yield site
    finally:
        if site.process.poll() is None:
            site.process.send_signal(signal.SIGINT)
        site.process.wait(60)
    assert site.leftovers() == []


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up(tmp_path_factory.mktemp("site") / "var") as running:
        yield running


def test_it_says_where_it_runs_once_it_answers(site: Up) -> None:
    assert f"Prefloop is running: http://127.0.0.1:{site.port}/" in site.text
    assert f"Its data is in {site.var}." in site.text
    assert site.healthy()


def test_the_sign_in_page_and_its_style_sheet_are_served(site: Up) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{site.port}/accounts/login/") as response:
        page = response.read().decode()
    style = re.search(r'href="(/static/[^"]+\.css)"', page)
    assert style is not None
    with urllib.request.urlopen(f"http://127.0.0.1:{site.port}{style.group(1)}") as response:
        assert response.status == 200


def test_it_runs_web_two_workers_beat_and_both_servers(site: Up) -> None:
    assert set(site.children()) == {"web", "short", "compute", "beat", "postgres", "redis"}


def test_other_processes_find_the_database(site: Up) -> None:
    kept = os.environ.pop("DATABASE_URL")
    try:
        url, broker = database_url(site.var), broker_url(site.var)
    finally:
        os.environ["DATABASE_URL"] = kept
    with psycopg.connect(url) as connection:
        assert connection.execute("SELECT count(*) > 0 FROM django_migrations").fetchone() == (True,)
    assert broker.startswith("redis://:")


def test_a_second_one_says_that_one_is_running(site: Up) -> None:
    said = Up(site.var, free_port()).refused()
    assert f"already running here: http://127.0.0.1:{site.port}/ (process {site.process.pid})" in said
    assert site.healthy()


def test_a_port_in_use_is_told(site: Up, tmp_path: Path) -> None:
    said = Up(tmp_path / "other", site.port).refused()
    assert f"Port {site.port} of 127.0.0.1 is in use" in said
    assert not (tmp_path / "other" / "postgres").exists()


@pytest.mark.parametrize("name", ["web", "short", "compute", "beat", "redis", "postgres"])
def test_a_killed_part_comes_back_by_itself(site: Up, name: str) -> None:
    before = site.children()[name]
    os.kill(before, signal.SIGKILL)
    assert eventually(lambda: site.children().get(name, before) != before and site.healthy(), 60)
    assert re.search(rf"{name} +\| was ended by SIGKILL; it is started again in", site.text)


def test_an_outside_server_that_cannot_be_used_stops_the_start(tmp_path: Path) -> None:
    said = Up(
        tmp_path / "var", free_port(), DATABASE_URL=f"postgresql://app:secret@127.0.0.1:{free_port()}/app"
    ).refused()
    assert "The database that DATABASE_URL names cannot be used" in said
    assert "secret" not in said


def test_with_outside_servers_it_starts_none_of_its_own(tmp_path: Path, site: Up) -> None:
    url, broker = database_url_of(site), (site.var / "redis" / "url").read_text()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE outside")
    with up(tmp_path / "var", DATABASE_URL=url.removesuffix("app") + "outside", CELERY_BROKER_URL=broker) as second:
        assert set(second.children()) == {"web", "short", "compute", "beat"}
        assert second.healthy()
        assert not (second.var / "postgres").exists()
        assert not (second.var / "redis").exists()


def database_url_of(site: Up) -> str:
    return (site.var / "postgres" / "url").read_text()


def test_nothing_survives_a_killed_site_and_the_next_one_starts(tmp_path: Path) -> None:
    first = Up(tmp_path / "var", free_port())
    first.wait_until_it_runs()
    with psycopg.connect(database_url_of(first), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    first.process.kill()
    first.process.wait()
    with up(tmp_path / "var") as second, psycopg.connect(database_url_of(second)) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)


def test_it_comes_back_on_its_port_after_everything_was_killed_at_once(tmp_path: Path) -> None:
    port = free_port()
    first = Up(tmp_path / "var", port)
    first.wait_until_it_runs()
    with psycopg.connect(database_url_of(first), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    for pid in (first.process.pid, *first.children().values()):
        os.kill(pid, signal.SIGKILL)
    first.process.wait()
    assert first.leftovers() != []  # the web server's own children
    with up(tmp_path / "var", port=port) as second, psycopg.connect(database_url_of(second)) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)


def test_one_signal_stops_it_while_it_still_starts(tmp_path: Path) -> None:
    starting = Up(tmp_path / "var", free_port())
    assert eventually(lambda: "ready to accept connections" in starting.text, 60)
    starting.process.send_signal(signal.SIGTERM)
    assert starting.process.wait(30) == 0
    assert starting.leftovers() == []
    assert not (tmp_path / "var" / "postgres" / "url").exists()


def test_a_step_that_fails_stops_everything_and_is_named(tmp_path: Path) -> None:
    said = Up(tmp_path / "var", free_port(), PREFLOOP_DB_POOL="not a number").refused()
    assert "PREFLOOP_DB_POOL" in said
