import http.server
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from labelapp.ops.leftovers import MARK
from labelapp.ops.programs import Site, manage_program, site_programs
from labelapp.ops.server import free_port

ROOT, VAR = Path("/srv/prefloop"), Path("/srv/prefloop/var")


def site(host: str = "127.0.0.1", port: int = 8000) -> Site:
    return Site(ROOT, VAR, host, port)


@contextmanager
def answering(status: int) -> Iterator[int]:
    """A web server that gives every request this status; yields its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None: ...

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_port
        server.shutdown()


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000/"),
        ("0.0.0.0", "http://127.0.0.1:8000/"),
        ("::", "http://[::1]:8000/"),
        ("::1", "http://[::1]:8000/"),
        ("label.example.org", "http://label.example.org:8000/"),
    ],
)
def test_the_address_is_one_for_a_browser_here(host: str, address: str) -> None:
    assert site(host).address == address


@pytest.mark.parametrize(("host", "public"), [("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)])
def test_it_knows_whether_others_can_reach_it(host: str, public: bool) -> None:
    assert site(host).is_public is public


def test_children_get_the_addresses_and_the_mark() -> None:
    environment = site().environment("postgresql://db", "redis://broker")
    assert environment["DATABASE_URL"] == "postgresql://db"
    assert environment["CELERY_BROKER_URL"] == "redis://broker"
    assert environment["PREFLOOP_VAR"] == environment[MARK] == str(VAR)
    assert environment["PATH"] == os.environ["PATH"]


def test_a_named_host_is_let_in_and_every_host_is_not() -> None:
    local = "localhost,127.0.0.1,[::1]"
    assert site("192.168.1.5").environment("", "")["PREFLOOP_HOSTS"] == f"{local},192.168.1.5"
    assert site("0.0.0.0").environment("", "")["PREFLOOP_HOSTS"] == local


@pytest.mark.parametrize(("status", "answers"), [(200, True), (400, True), (500, False), (503, False)])
def test_it_answers_unless_the_health_page_fails(status: int, answers: bool) -> None:
    with answering(status) as port:
        assert site(port=port).answers() is answers


def test_it_does_not_answer_where_nothing_listens() -> None:
    assert not site(port=free_port()).answers()


def test_the_site_is_web_two_workers_and_beat() -> None:
    commands = {program.name: " ".join(program.command) for program in site_programs(site(port=8123), {})}
    assert list(commands) == ["web", "short", "compute", "beat"]
    assert "uvicorn labelapp.asgi:application --host 127.0.0.1 --port 8123 --workers 2" in commands["web"]
    assert "worker -Q short -n short@%h" in commands["short"]
    assert "worker -Q compute -n compute@%h --pool threads --concurrency 1" in commands["compute"]
    assert "beat --scheduler django_celery_beat.schedulers:DatabaseScheduler" in commands["beat"]


def test_manage_runs_in_the_project() -> None:
    program = manage_program(site(), {"A": "b"}, "migrate", "--noinput")
    assert program.name == "migrate"
    assert program.command[1:] == ("manage.py", "migrate", "--noinput")
    assert program.folder == ROOT
