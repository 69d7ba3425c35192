"""The programs that make up the site, and how to see that it answers."""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from labelapp.env import env_str
from labelapp.ops.children import Program
from labelapp.ops.leftovers import MARK

ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # listening address: one that reaches it from here
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")
ANSWER_SECONDS = 2.0
ROOT_IS_KNOWN = ("-W", "ignore:You're running the worker with superuser privileges")  # `make run` as root is allowed
BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"


@dataclass(frozen=True)
class Site:
    """Where the project stands, where its data is, where it listens. Paths are absolute."""

    root: Path
    var: Path
    host: str
    port: int

    @property
    def address(self) -> str:
        """The address for a browser on this machine."""
        return f"http://{_bracketed(ANYWHERE.get(self.host, self.host))}:{self.port}/"

    @property
    def is_public(self) -> bool:
        """Whether other machines can reach it."""
        return self.host not in LOCAL_NAMES

    def environment(self, database_url: str, broker_url: str) -> dict[str, str]:
        """Return the environment of every child. The mark is how a later run finds those that were left behind."""
        return {
            **os.environ,
            "DATABASE_URL": database_url,
            "CELERY_BROKER_URL": broker_url,
            "PREFLOOP_HOSTS": env_str("PREFLOOP_HOSTS", self._hosts()),
            "PREFLOOP_VAR": str(self.var),
            "PYTHONUNBUFFERED": "1",
            MARK: str(self.var),
        }

    def answers(self) -> bool:
        """Say whether the health page answers. One that refuses our name (PREFLOOP_HOSTS) or redirects still lives."""
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with direct.open(f"{self.address}health", timeout=ANSWER_SECONDS):
                return True
        except urllib.error.HTTPError as error:
            return error.code < 500
        except OSError:
            return False

    def _hosts(self) -> str:
        own = () if self.host in (*ANYWHERE, *LOCAL_NAMES) else (self.host,)
        return ",".join(_bracketed(name) for name in (*LOCAL_NAMES, *own))


def manage_program(site: Site, environment: Mapping[str, str], *arguments: str) -> Program:
    """Return `manage.py` with these arguments."""
    return _program(site, environment, arguments[0], ("manage.py", *arguments))


def site_programs(site: Site, environment: Mapping[str, str]) -> list[Program]:
    """Return what runs for good: web, the two workers, beat.

    The workers use threads. Long work runs in a subprocess or waits for the database, so forked workers would bring
    no speed, cost more memory, and could not share the pool of database connections.
    """
    return [
        _program(site, environment, "web", _web_command(site)),
        _program(site, environment, "short", _worker_command("short", 2), ready_word="short@"),
        _program(site, environment, "compute", _worker_command("compute", 1), ready_word="compute@"),
        _program(site, environment, "beat", _beat_command()),
    ]


def _web_command(site: Site) -> tuple[str, ...]:
    listening = ("--host", site.host, "--port", str(site.port), "--workers", "2")
    quiet = ("--no-access-log", "--no-server-header", "--log-level", "warning")
    return ("-m", "uvicorn", "labelapp.asgi:application", *listening, *quiet, "--lifespan", "off", *_uvicorn_stop())


def _uvicorn_stop() -> tuple[str, ...]:
    return ("--timeout-graceful-shutdown", "3")


def _worker_command(queue: str, threads: int) -> tuple[str, ...]:
    chat = ("--without-gossip", "--without-mingle", "--loglevel", "INFO")
    pool = ("--pool", "threads", "--concurrency", str(threads))
    return (
        *ROOT_IS_KNOWN,
        "-m",
        "celery",
        "-q",
        "-A",
        "labelapp",
        "worker",
        "-Q",
        queue,
        "-n",
        f"{queue}@%h",
        *pool,
        *chat,
    )


def _beat_command() -> tuple[str, ...]:
    return ("-m", "celery", "-q", "-A", "labelapp", "beat", "--scheduler", BEAT_SCHEDULER, "--loglevel", "WARNING")


def _program(
    site: Site, environment: Mapping[str, str], name: str, arguments: tuple[str, ...], ready_word: str = ""
) -> Program:
    return Program(name, (sys.executable, *arguments), environment, site.root, ready_word=ready_word)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
