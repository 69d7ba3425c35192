"""A PostgreSQL and a redis of the benchmarks' own, with the application's tables, kept apart from `var/postgres`."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django
from django.core.management import call_command

from labelapp.ops.postgres import EmbeddedPostgres
from labelapp.ops.redis import EmbeddedRedis
from labelapp.ops.server import running

VAR = Path(__file__).resolve().parent.parent.parent / "var" / "bench"


@contextmanager
def fresh_database(name: str) -> Iterator[subprocess.Popen[bytes]]:
    """Start an empty server, point Django at it, make the tables; yield its process, and remove it all at the end."""
    folder = VAR / name
    shutil.rmtree(folder, ignore_errors=True)
    server, broker = EmbeddedPostgres(folder / "postgres"), EmbeddedRedis(folder / "redis")
    with tempfile.TemporaryDirectory() as scratch, running(server) as process, running(broker):
        os.environ.update(
            DATABASE_URL=server.url,
            CELERY_BROKER_URL=broker.url,
            PREFLOOP_VAR=scratch,
            DJANGO_SETTINGS_MODULE="labelapp.settings",
        )
        django.setup()
        call_command("migrate", verbosity=0)
        call_command("collectstatic", interactive=False, verbosity=0)
        yield process
    shutil.rmtree(folder, ignore_errors=True)
