"""Pytest plugin (`-p tests.embedded_services`): PostgreSQL for the whole session, redis for tests that ask for it.

With DATABASE_URL unset it starts an embedded PostgreSQL before Django's settings are read; xdist's workers inherit the
address. A second session at the same time gets a server and data folder of its own.
"""

import itertools
import os
import signal
import tempfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from labelapp.ops.host import HostError
from labelapp.ops.postgres import EmbeddedPostgres
from labelapp.ops.redis import EmbeddedRedis
from labelapp.ops.server import InUseError, ServerError, running

TEST_DATA = Path(__file__).resolve().parent.parent / "var" / "test"
UNSYNCED = ("fsync=off", "synchronous_commit=off", "full_page_writes=off")


class UnsyncedPostgres(EmbeddedPostgres):
    """One that does not wait for the disk: what tests write need not outlive the machine."""

    @property
    def command(self) -> tuple[str, ...]:
        """The foreground server."""
        return (*super().command, *(part for setting in UNSYNCED for part in ("-c", setting)))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> Generator[None, None, None]:
    """Set the environment first: pytest-django reads the settings in its own hook of this name, which is no wrapper."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # As in everything that a shell starts in the background; what tests start must hear Ctrl-C all the same.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if "PYTEST_XDIST_WORKER" not in os.environ:
        services = ExitStack()
        early_config.add_cleanup(services.close)
        _provide(services)
    return (yield)


def _provide(services: ExitStack) -> None:
    var = services.enter_context(tempfile.TemporaryDirectory(prefix="prefloop-test-"))
    Path(var, "static").mkdir()  # whitenoise warns of every start without it
    os.environ["PREFLOOP_VAR"] = var
    if os.environ.get("DATABASE_URL"):
        return
    try:
        server = _start_postgres(services)
    except (HostError, ServerError, OSError) as error:
        raise pytest.UsageError(f"The PostgreSQL of the tests cannot start. {error}") from error
    os.environ["DATABASE_URL"] = server.url
    services.callback(os.environ.pop, "DATABASE_URL", None)


def _start_postgres(services: ExitStack) -> UnsyncedPostgres:
    for number in itertools.count(1):
        server = UnsyncedPostgres(TEST_DATA / f"postgres-{number}")
        try:
            services.enter_context(running(server))
        except InUseError:  # by another session of tests
            continue
        return server
    raise AssertionError("unreachable: the count is endless")


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a redis that lasts for the session."""
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis"))
    with running(server):
        yield server.url
