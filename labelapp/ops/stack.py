"""`manage.py up`: the whole site as one foreground program. Only its children touch Django's models."""

import signal
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

from labelapp.env import env_str
from labelapp.ops.children import Child, Program
from labelapp.ops.endpoints import make_folder, postgres_folder, redis_folder
from labelapp.ops.host import HostError
from labelapp.ops.leftovers import end_processes, marked_processes
from labelapp.ops.log import LogPrinter
from labelapp.ops.outside import check_broker, check_database
from labelapp.ops.postgres import EmbeddedPostgres
from labelapp.ops.preflight import UpError, check_port, check_room, claim, disk_full
from labelapp.ops.programs import Site, manage_program, site_programs
from labelapp.ops.redis import EmbeddedRedis
from labelapp.ops.server import Server, ServerError
from labelapp.ops.supervisor import StopRequestedError, Supervisor

SERVER_SECONDS = 60.0
SITE_SECONDS = 120.0
LEFTOVER_STEPS = ((signal.SIGTERM, 4.0), (signal.SIGKILL, 4.0))


def up(site: Site, seed: bool, out: TextIO) -> int:
    """Bring the site up, keep it running until Ctrl-C or SIGTERM, take it down. Return the exit code."""
    try:
        with claim(make_folder(site.var), site.address):
            _end_leftovers(site.var)
            check_port(site.host, site.port)
            check_room(site.var)
            _run(site, seed, out)
            LogPrinter(out).print("Everything is stopped.")
    except (KeyboardInterrupt, StopRequestedError):
        return 0
    except (UpError, HostError, ServerError) as error:
        return _refuse(out, str(error))
    except OSError as error:
        return _refuse(out, disk_full(error, site.var))
    return 0


def _run(site: Site, seed: bool, out: TextIO) -> None:
    with ExitStack() as opened, Supervisor(out) as supervisor:
        opened.callback(_end_leftovers, site.var)
        stack = Stack(site, supervisor, opened)
        stack.start_servers()
        stack.prepare_data(seed)
        stack.start_site(seed)
        supervisor.run()
        supervisor.log.print("\nStopping …")


class Stack:
    """The order in which things start. Each step raises StopRequestedError when a stop comes in between."""

    def __init__(self, site: Site, supervisor: Supervisor, opened: ExitStack) -> None:
        self.site = site
        self.supervisor = supervisor
        self._opened = opened
        self._environment: dict[str, str] = {}

    def start_servers(self) -> None:
        """Find or start the database and the broker, each by itself."""
        database, broker = env_str("DATABASE_URL"), env_str("CELERY_BROKER_URL")
        if database:
            check_database(database)
        if broker:
            check_broker(broker)
        postgres = EmbeddedPostgres(postgres_folder(self.site.var))
        redis = EmbeddedRedis(redis_folder(self.site.var))
        if not broker:
            self._open(redis)
        if not database:
            self._open(postgres)
        self._environment = self.site.environment(
            database or self._started(postgres),
            broker or self._started(redis),
        )

    def prepare_data(self, seed: bool) -> None:
        """Bring the tables, the static files and, unless told otherwise, the demo up to date."""
        static = self.supervisor.start_once(self._manage("collectstatic", "--noinput", "--verbosity", "0"))
        self._require(self.supervisor.run_once(self._manage("migrate", "--noinput", "--verbosity", "0")))
        if seed:
            self._require(self.supervisor.run_once(self._manage("seed_demo")))
        self._require(self.supervisor.wait_for_end(static))

    def start_site(self, seed: bool) -> None:
        """Start web, workers and beat; when they answer, say where, and how to sign in."""
        children = [self.supervisor.start(program) for program in site_programs(self.site, self._environment)]
        accounts = (
            self.supervisor.start_once(self._manage("seed_demo", "--print-accounts"), quiet=True) if seed else None
        )
        waited_for = [child for child in children if child.program.ready_word]
        complete = self.supervisor.wait_for(
            lambda: (
                all(child.ready for child in waited_for)
                and (accounts is None or accounts.exit_code is not None)
                and self.site.answers()
            ),
            SITE_SECONDS,
        )
        self.supervisor.log.print(self._greeting(complete, accounts))

    def _open(self, server: Server) -> None:
        server.open()
        self._opened.callback(server.close)

    def _started(self, server: Server) -> str:
        """Start an open server and return its address once it answers."""
        self.supervisor.start(server.program)
        if not self.supervisor.wait_for(server.answers, SERVER_SECONDS):
            raise UpError(f"{server.name} did not answer within {SERVER_SECONDS:g} s; its lines above say why.")
        server.publish()
        return server.url

    def _require(self, child: Child) -> None:
        if child.exit_code != 0:
            name = child.program.name
            raise UpError(f"`manage.py {name}` failed; its lines above say why. Everything is stopped again.")

    def _manage(self, *arguments: str) -> Program:
        return manage_program(self.site, self._environment, *arguments)

    def _greeting(self, complete: bool, accounts: Child | None) -> str:
        state = "Prefloop is running" if complete else f"Not everything answers after {SITE_SECONDS:g} s (see above)"
        parts = [f"{state}: {self.site.address}"]
        if self.site.is_public and not env_str("PREFLOOP_HOSTS"):
            parts.append("Set PREFLOOP_HOSTS to the names by which other machines reach it; others are refused.")
        if accounts is not None:
            parts.append("\n".join(accounts.lines))
        parts.append(f"Its data is in {self.site.var}. Ctrl-C stops everything.")
        return "\n" + "\n\n".join(parts) + "\n"


def _end_leftovers(var: Path) -> None:
    """End what a killed run left behind, or what outlived its worker."""
    end_processes(lambda: marked_processes(str(var)), LEFTOVER_STEPS)


def _refuse(out: TextIO, message: str) -> int:
    LogPrinter(out).print(f"\n{message}\n")
    return 1
