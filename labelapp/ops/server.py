"""What the embedded servers have in common, and running one by itself (tests, benchmarks)."""

import signal
import socket
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from labelapp.ops.children import Program
from labelapp.ops.endpoints import write_private
from labelapp.ops.host import Identity
from labelapp.ops.leash import leashed
from labelapp.ops.locks import take_lock

START_SECONDS = 60.0


class ServerError(RuntimeError):
    """An embedded server cannot start. The message says how to mend it."""


class InUseError(ServerError):
    """Another living program holds the folder."""


class Server(ABC):
    """One server on one folder, on loopback. `open`, run `command` in the foreground until it `answers`, `close`."""

    name: str
    stop_signal: signal.Signals
    stop_seconds: float

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.folder = folder.absolute()
        self.port = port or free_port()
        self.url_file = self.folder / "url"
        self._locks: list[IO[str]] = []

    @property
    @abstractmethod
    def identity(self) -> Identity:
        """The user that the server runs as."""

    @property
    @abstractmethod
    def environment(self) -> Mapping[str, str]:
        """The server's environment."""

    @property
    @abstractmethod
    def command(self) -> tuple[str, ...]:
        """The foreground server. No password in it: every user can read a command line."""

    @property
    @abstractmethod
    def url(self) -> str:
        """The address, with its password."""

    @abstractmethod
    def open(self) -> None:
        """Take the folder and get it ready. Raises ServerError or HostError, or OSError when the disk is full."""

    @abstractmethod
    def prepare(self) -> None:
        """Clear what a killed server left behind. Called before every start."""

    @abstractmethod
    def answers(self) -> bool:
        """Say whether it takes commands; false while it starts or recovers."""

    @property
    def program(self) -> Program:
        """The server as a supervisor runs it."""
        return Program(
            name=self.name,
            command=self.command,
            environment=self.environment,
            folder=self.folder,
            stage=0,
            stop_signal=self.stop_signal,
            stop_seconds=self.stop_seconds,
            identity=self.identity.spec,
            prepare=self.prepare,
        )

    def publish(self) -> None:
        """Write the address where the settings of other processes find it."""
        write_private(self.url_file, self.url)

    def close(self) -> None:
        """Withdraw the address and let go of the folder. The server must have ended."""
        self.url_file.unlink(missing_ok=True)
        while self._locks:
            self._locks.pop().close()

    def _hold(self, folder: Path) -> None:
        """Keep other programs off the folder until `close`. Raises InUseError when one is there already."""
        lock = take_lock(folder / "lock")
        if lock is None:
            raise InUseError(f"Another program runs {self.name} on {folder}. Stop it first.")
        self._locks.append(lock)


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(server: Server) -> Iterator[subprocess.Popen[bytes]]:
    """Run the server by itself and yield its process once it answers; stop it afterwards. Its output goes to `log`.

    Use it from the main thread. Raises ServerError when it does not answer.
    """
    server.open()
    try:
        process = start(server)
        try:
            yield process
        finally:
            process.send_signal(server.stop_signal)
            try:
                process.wait(server.stop_seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        server.close()


def start(server: Server) -> subprocess.Popen[bytes]:
    """Start an open server and return its process once it answers. Raises ServerError with the end of its log."""
    server.prepare()
    log = server.folder / "log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            leashed(server.command, server.stop_signal, server.identity.spec),
            env=server.environment,
            cwd=server.folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while not server.answers():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise ServerError(f"{server.name} did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)
    return process
