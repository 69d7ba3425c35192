import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from labelapp.ops import endpoints

Reader = Callable[[Path], object]
VARIABLES = ("PREFLOOP_SECRET_KEY", "DATABASE_URL", "CELERY_BROKER_URL")


@pytest.fixture(autouse=True)
def unset() -> Iterator[None]:
    kept = {name: os.environ.pop(name) for name in VARIABLES if name in os.environ}
    yield
    for name in VARIABLES:
        os.environ.pop(name, None)
    os.environ.update(kept)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_it_makes_a_secret_key_once(tmp_path: Path) -> None:
    key = endpoints.secret_key(tmp_path)
    assert len(key) >= 64
    assert endpoints.secret_key(tmp_path) == key
    assert endpoints.secret_key(tmp_path / "other") != key


def test_the_secret_key_is_private_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    endpoints.secret_key(tmp_path / "var")
    assert mode_of(tmp_path / "var" / "secret_key") == 0o600
    assert [path.name for path in (tmp_path / "var").iterdir()] == ["secret_key"]


def test_it_agrees_on_one_secret_key_when_many_ask_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        keys = set(pool.map(endpoints.secret_key, [tmp_path] * 64))
    assert len(keys) == 1


def test_the_environment_wins_over_the_kept_secret_key(tmp_path: Path) -> None:
    os.environ["PREFLOOP_SECRET_KEY"] = "from the environment"
    assert endpoints.secret_key(tmp_path) == "from the environment"
    assert not (tmp_path / "secret_key").exists()


def test_an_empty_secret_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("\n")
    with pytest.raises(endpoints.SecretKeyError, match=r"secret_key is empty\. Delete it"):
        endpoints.secret_key(tmp_path)


def test_it_names_the_variable_when_the_secret_key_cannot_be_kept(tmp_path: Path) -> None:
    (tmp_path / "var").write_text("a file where the folder should be")
    with pytest.raises(endpoints.SecretKeyError, match=r"PREFLOOP_SECRET_KEY is not set.*Set the variable"):
        endpoints.secret_key(tmp_path / "var")


@pytest.mark.parametrize(
    ("variable", "read", "folder", "fallback"),
    [
        ("DATABASE_URL", endpoints.database_url, endpoints.postgres_folder, endpoints.FALLBACK_DATABASE),
        ("CELERY_BROKER_URL", endpoints.broker_url, endpoints.redis_folder, endpoints.FALLBACK_BROKER),
    ],
)
def test_an_address_comes_from_the_environment_else_the_running_stack_else_nowhere(
    tmp_path: Path, variable: str, read: Reader, folder: Callable[[Path], Path], fallback: str
) -> None:
    assert read(tmp_path) == fallback
    endpoints.make_folder(folder(tmp_path))
    endpoints.write_private(folder(tmp_path) / "url", "scheme://embedded")
    assert read(tmp_path) == "scheme://embedded"
    os.environ[variable] = "scheme://external"
    assert read(tmp_path) == "scheme://external"


def test_write_private_replaces_a_public_file_by_a_private_one(tmp_path: Path) -> None:
    path = tmp_path / "url"
    path.write_text("old")
    path.chmod(0o644)
    endpoints.write_private(path, "new")
    assert path.read_text() == "new"
    assert mode_of(path) == 0o600
    assert list(tmp_path.iterdir()) == [path]


def test_a_kept_password_stays(tmp_path: Path) -> None:
    password = endpoints.kept_password(tmp_path / "password")
    assert len(password) >= 32
    assert endpoints.kept_password(tmp_path / "password") == password


def test_make_folder_hides_what_it_makes_and_keeps_what_exists(tmp_path: Path) -> None:
    parent = tmp_path / "parent"
    parent.mkdir(mode=0o755)
    endpoints.make_folder(parent / "var" / "postgres")
    assert mode_of(parent) == 0o755
    for path in (parent / "var", parent / "var" / "postgres"):
        assert mode_of(path) == (0o711 if os.geteuid() == 0 else 0o700)


def test_the_module_needs_no_django() -> None:
    code = "import sys; sys.modules['django'] = None; import labelapp.env, labelapp.ops.endpoints"
    root = Path(__file__).resolve().parents[2]
    blocked = (
        "import sys, types; p = types.ModuleType('labelapp'); p.__path__ = ['labelapp']; sys.modules['labelapp'] = p; "
    )
    subprocess.run([sys.executable, "-c", blocked + code], cwd=root, check=True)
