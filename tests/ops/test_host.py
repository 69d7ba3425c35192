import json
import os
import pwd
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from labelapp.ops.host import HostError, choose_host, give_to, namespace_identity, nobody_identity, own_identity
from labelapp.ops.leash import CANNOT_RUN
from labelapp.ops.postgres import postgres_install
from tests.ops.processes import ROOT

pytestmark = pytest.mark.services

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root needs a way round")
LEASH = str(ROOT / "labelapp" / "ops" / "leash.py")
NAMELESS = 54321
NO_NAMESPACES = str(Path(__file__).with_name("no_namespaces.py"))
COUNT_STARTS = """
import json, sys
from pathlib import Path
import psycopg
from labelapp.ops.leash import CANNOT_RUN
from labelapp.ops.postgres import EmbeddedPostgres
from labelapp.ops.server import running
with running(server := EmbeddedPostgres(Path(sys.argv[1]), shared_home=Path(sys.argv[2]))):
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS starts (x int)")
        connection.execute("INSERT INTO starts VALUES (1)")
        starts = connection.execute("SELECT count(*) FROM starts").fetchone()[0]
    print(json.dumps([server.identity.name, str(server.data), starts]))
"""


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder through which every user can pass."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o711)
        yield Path(name)


@pytest.fixture
def closed_folder(open_folder: Path) -> Path:
    """A folder such as a home that only its owner can enter."""
    folder = open_folder / "home"
    folder.mkdir(mode=0o700)
    return folder


def count_starts(folder: Path, shared: Path, *wrapper: str) -> list[object]:
    """Start the server once more: [as whom, where the data is, how often it was started with that data]."""
    command = [*wrapper, sys.executable, "-c", COUNT_STARTS, str(folder), str(shared)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    if done.returncode in (99, CANNOT_RUN):
        pytest.skip(f"the test cannot be set up here: {done.stderr.strip() or 'user namespaces are refused'}")
    assert done.returncode == 0, done.stderr
    answer: list[object] = json.loads(done.stdout)
    return answer


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.skipif(os.geteuid() == 0, reason="root has a test of its own")
def test_an_ordinary_user_runs_it_as_itself(tmp_path: Path) -> None:
    host = choose_host(tmp_path / "postgres", postgres_install())
    assert (host.identity, host.home) == (own_identity(), tmp_path / "postgres")


@as_root
def test_root_runs_it_as_nobody_where_nobody_can_go(open_folder: Path) -> None:
    folder = open_folder / "var" / "postgres"
    assert count_starts(folder, open_folder / "shared") == ["nobody", str(folder / "data"), 1]
    assert (folder / "data").stat().st_uid == nobody_identity().uid
    assert (folder / "password").stat().st_uid == 0
    assert not list(folder.glob("probe*"))


@as_root
def test_root_runs_it_in_a_namespace_under_a_closed_folder_and_opens_nothing(closed_folder: Path) -> None:
    folder = closed_folder / "var" / "postgres"
    assert count_starts(folder, closed_folder / "shared") == ["user namespace", str(folder / "data"), 1]
    assert mode_of(closed_folder) == 0o700
    assert (folder / "data").stat().st_uid == 0


@as_root
def test_the_data_goes_along_when_its_folder_is_closed_and_opened(open_folder: Path) -> None:
    folder = open_folder / "var" / "postgres"
    names = []
    for starts, mode in enumerate((0o711, 0o700, 0o711), start=1):
        open_folder.chmod(mode)
        name, _, counted = count_starts(folder, open_folder / "shared")
        names.append(name)
        assert counted == starts
    assert names == ["nobody", "user namespace", "nobody"]


@as_root
def test_root_runs_it_as_the_user_in_whose_home_it_is(closed_folder: Path) -> None:
    owner = pwd.getpwnam("daemon")
    os.chown(closed_folder, owner.pw_uid, owner.pw_gid)
    folder = closed_folder / "var" / "postgres"
    for starts in (1, 2):
        assert count_starts(folder, closed_folder / "shared") == ["daemon", str(folder / "data"), starts]
    assert (folder / "data").stat().st_uid == owner.pw_uid
    assert mode_of(closed_folder) == 0o700


@as_root
def test_a_user_without_a_name_runs_it_too(open_folder: Path) -> None:
    (open_folder / "var").mkdir()
    os.chown(open_folder / "var", NAMELESS, NAMELESS)
    wrapper = [sys.executable, LEASH, str(os.getpid()), "9", f"{NAMELESS}:{NAMELESS}"]
    name, _, starts = count_starts(open_folder / "var" / "postgres", open_folder / "shared", *wrapper)
    assert (name, starts) == ("user namespace", 1)
    assert (open_folder / "var" / "postgres" / "data").stat().st_uid == NAMELESS


@as_root
def test_without_namespaces_the_data_moves_once_and_is_found_again(closed_folder: Path, open_folder: Path) -> None:
    folder, shared = closed_folder / "var" / "postgres", open_folder / "shared"
    assert count_starts(folder, shared)[2] == 1
    name, data, starts = count_starts(folder, shared, sys.executable, NO_NAMESPACES)
    assert (name, starts) == ("nobody", 2)
    assert Path(str(data)).is_relative_to(shared)
    assert count_starts(folder, shared) == ["nobody", data, 3]
    assert mode_of(closed_folder) == 0o700
    assert mode_of(Path(str(data))) == 0o700


@as_root
def test_moved_data_that_is_gone_is_told(closed_folder: Path, open_folder: Path) -> None:
    folder, shared = closed_folder / "var" / "postgres", open_folder / "shared"
    count_starts(folder, shared, sys.executable, NO_NAMESPACES)
    shutil.rmtree((folder / "location").read_text())
    with pytest.raises(HostError, match="that folder is gone"):
        choose_host(folder, postgres_install())


@as_root
def test_it_tells_what_was_tried_when_nothing_works(open_folder: Path) -> None:
    with pytest.raises(HostError) as refusal:
        choose_host(open_folder / "postgres", open_folder / "no binaries here", open_folder / "shared")
    text = str(refusal.value)
    for part in ("refuses to run as root", "as nobody in", "as user namespace in", "set DATABASE_URL"):
        assert part in text
    assert not (open_folder / "postgres" / "location").exists()
    assert not (open_folder / "shared").exists()


@as_root
def test_give_to_changes_every_owner_and_follows_no_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("x")
    folder = tmp_path / "data"
    (folder / "base").mkdir(parents=True)
    (folder / "base" / "1").write_text("x")
    (folder / "link").symlink_to(outside)
    give_to(nobody_identity(), folder)
    assert {path.lstat().st_uid for path in (folder, *folder.rglob("*"))} == {nobody_identity().uid}
    assert outside.stat().st_uid == 0
    give_to(namespace_identity(), folder)
    assert folder.stat().st_uid == 0
