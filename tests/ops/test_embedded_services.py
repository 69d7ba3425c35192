import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from tests.ops.processes import ROOT, eventually

pytestmark = pytest.mark.services

TELL = """
import os, pathlib, time

def test_tell(tmp_path_factory):
    name = os.environ.get("PYTEST_XDIST_WORKER", "alone")
    told = pathlib.Path(os.environ["TELL"], name)
    told.with_suffix(".part").write_text(os.environ["DATABASE_URL"] + " " + os.environ["PREFLOOP_VAR"])
    told.with_suffix(".part").rename(told)
    time.sleep(float(os.environ["STAY"]))

def test_also():
    test_tell(None)
"""


class Session:
    """A run of pytest with the plugin and without anything else of the project."""

    def __init__(self, folder: Path, stay: float = 0, *options: str, **variables: str) -> None:
        folder.mkdir()
        self.told = folder / "told"
        self.told.mkdir()
        (folder / "test_tell.py").write_text(TELL)
        outside = {name: value for name, value in os.environ.items() if not name.startswith(("DATABASE_", "PYTEST_"))}
        alone = ["-c", os.devnull, "--rootdir", str(folder), "-p", "no:django", "-p", "no:cacheprovider"]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "pytest", *alone, "-p", "tests.embedded_services", *options, str(folder)],
            cwd=ROOT,
            env={**outside, "TELL": str(self.told), "STAY": str(stay), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def addresses(self) -> set[str]:
        """Return what its workers told: the addresses of their databases."""
        return {path.read_text().split()[0] for path in self.told.iterdir() if not path.suffix}

    def ended(self) -> str:
        """Wait for the end and return what it printed."""
        printed, _ = self.process.communicate(timeout=90)
        return printed


def accepts(address: str) -> bool:
    try:
        psycopg.connect(address).close()
    except psycopg.OperationalError:
        return False
    return True


def test_a_session_has_a_database_and_leaves_none_behind(tmp_path: Path) -> None:
    session = Session(tmp_path / "a", stay=1)
    assert eventually(lambda: len(session.addresses()) == 1, 60)
    (address,) = session.addresses()
    with psycopg.connect(address) as connection:
        assert connection.execute("SHOW fsync").fetchone() == ("off",)
    assert "2 passed" in session.ended()
    assert not accepts(address)


def test_its_data_folder_of_the_site_is_new_and_removed(tmp_path: Path) -> None:
    session = Session(tmp_path / "a")
    assert "2 passed" in session.ended()
    var = (session.told / "alone").read_text().split()[1]
    assert not Path(var).exists()
    assert not Path(var).is_relative_to(ROOT)


def test_the_workers_of_a_session_share_one_server(tmp_path: Path) -> None:
    session = Session(tmp_path / "a", 0, "-n", "2", "--dist", "each")
    assert "4 passed" in session.ended()
    assert len(list(session.told.iterdir())) == 2
    assert len(session.addresses()) == 1


def test_two_sessions_at_once_have_two_servers(tmp_path: Path) -> None:
    first = Session(tmp_path / "a", stay=60)
    assert eventually(lambda: len(first.addresses()) == 1, 60)
    second = Session(tmp_path / "b")
    assert "2 passed" in second.ended()
    first.process.send_signal(signal.SIGINT)
    first.ended()
    assert first.addresses() != second.addresses()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_session_takes_its_server_along(tmp_path: Path, number: signal.Signals) -> None:
    session = Session(tmp_path / "a", stay=60)
    assert eventually(lambda: len(session.addresses()) == 1, 60)
    (address,) = session.addresses()
    session.process.send_signal(number)
    session.ended()
    assert eventually(lambda: not accepts(address))
    assert "2 passed" in Session(tmp_path / "b").ended()


def test_a_database_that_is_named_is_used(tmp_path: Path) -> None:
    session = Session(tmp_path / "a", DATABASE_URL="postgresql://elsewhere/app")
    assert "2 passed" in session.ended()
    assert session.addresses() == {"postgresql://elsewhere/app"}
