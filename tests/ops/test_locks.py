import stat
from pathlib import Path

from labelapp.ops.locks import take_lock
from tests.ops.processes import python

HOLDER = """
import sys, time
from pathlib import Path
from labelapp.ops.locks import take_lock
lock = take_lock(Path(sys.argv[1]))
print(lock is not None, flush=True)
time.sleep(60)
"""


def test_a_lock_is_for_one_and_ends_with_its_file(tmp_path: Path) -> None:
    first = take_lock(tmp_path / "lock")
    assert first is not None
    assert take_lock(tmp_path / "lock") is None
    first.close()
    second = take_lock(tmp_path / "lock")
    assert second is not None
    second.close()


def test_a_lock_ends_with_a_killed_process(tmp_path: Path) -> None:
    holder = python(HOLDER, str(tmp_path / "lock"))
    assert holder.stdout is not None
    assert holder.stdout.readline() == "True\n"
    assert take_lock(tmp_path / "lock") is None
    holder.kill()
    holder.wait()
    lock = take_lock(tmp_path / "lock")
    assert lock is not None
    lock.close()


def test_only_the_owner_can_lock_and_the_text_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "made" / "lock"
    first = take_lock(path)
    assert first is not None
    first.write("123")
    first.close()
    second = take_lock(path)
    assert second is not None
    second.close()
    assert path.read_text() == "123"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
