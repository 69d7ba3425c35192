"""A PostgreSQL of the benchmarks' own, with the application's tables, kept apart from `var/postgres`."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import django
from django.core.management import call_command

from labelapp.ops.postgres import EmbeddedPostgres
from labelapp.ops.server import running

VAR = Path(__file__).resolve().parent.parent / "var" / "bench"


@contextmanager
def fresh_database(name: str) -> Iterator[None]:
    """Start an empty server, point Django at it, make the tables; remove it all at the end."""
    folder = VAR / name
    shutil.rmtree(folder, ignore_errors=True)
    server = EmbeddedPostgres(folder)
    with tempfile.TemporaryDirectory() as scratch, running(server):
        os.environ.update(
            DATABASE_URL=server.url, PREFLOOP_VAR=scratch, DJANGO_SETTINGS_MODULE="labelapp.settings"
        )
        django.setup()
        call_command("migrate", verbosity=0)
        yield
    shutil.rmtree(folder, ignore_errors=True)
