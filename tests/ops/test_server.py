import signal
import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from labelapp.ops.host import Identity, own_identity
from labelapp.ops.server import InUseError, Server, ServerError, free_port, running
from tests.ops.processes import lives


class Shell(Server):
    """A server that is a shell script; it answers once it made its sign."""

    name = "shell"
    stop_signal = signal.SIGTERM
    stop_seconds = 1.0
    script = "touch answers; exec sleep 60"

    @property
    def identity(self) -> Identity:
        return own_identity()

    @property
    def environment(self) -> Mapping[str, str]:
        return {"PATH": "/usr/bin:/bin"}

    @property
    def command(self) -> tuple[str, ...]:
        return ("/bin/sh", "-c", self.script)

    @property
    def url(self) -> str:
        return "shell://secret"

    def open(self) -> None:
        self._hold(self.folder)

    def prepare(self) -> None:
        (self.folder / "answers").unlink(missing_ok=True)

    def answers(self) -> bool:
        return (self.folder / "answers").exists()


class Deaf(Shell):
    script = "trap '' TERM; touch answers; while :; do sleep 0.1; done"


class Broken(Shell):
    script = "echo the disk is on fire; exit 3"


def test_it_runs_until_the_block_ends(tmp_path: Path) -> None:
    with running(Shell(tmp_path)) as process:
        assert lives(process.pid)
    assert process.returncode == -signal.SIGTERM


def test_one_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    with running(Deaf(tmp_path)) as process:
        assert lives(process.pid)
    assert process.returncode == -signal.SIGKILL


def test_one_that_cannot_start_says_why_and_lets_the_folder_go(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="shell did not start:\nthe disk is on fire"), running(Broken(tmp_path)):
        pass
    with running(Shell(tmp_path)) as process:
        assert lives(process.pid)


def test_the_folder_is_for_one(tmp_path: Path) -> None:
    with running(Shell(tmp_path)), pytest.raises(InUseError, match="Another program runs shell on"):
        Shell(tmp_path).open()


def test_the_address_is_published_while_it_runs(tmp_path: Path) -> None:
    with running(server := Shell(tmp_path)):
        server.publish()
        assert (tmp_path / "url").read_text() == "shell://secret"
    assert not (tmp_path / "url").exists()


def test_the_program_for_a_supervisor_says_how_to_stop_it(tmp_path: Path) -> None:
    program = Shell(tmp_path).program
    assert (program.name, program.stage, program.stop_signal, program.identity) == ("shell", 0, signal.SIGTERM, "self")


def test_a_free_port_can_be_listened_on() -> None:
    with socket.create_server(("127.0.0.1", free_port())):
        pass
