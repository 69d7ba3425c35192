"""`manage.py up`: run the whole site, database and broker included, in the foreground."""

import sys
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand

from labelapp.ops.programs import Site
from labelapp.ops.stack import up


class Command(BaseCommand):
    """Thin: nothing here may touch the database, which `up` has yet to start."""

    help = "Run Prefloop: PostgreSQL and redis (unless DATABASE_URL, CELERY_BROKER_URL are set), web, workers, beat."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare --host, --port and --no-seed."""
        parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
        parser.add_argument("--port", type=int, default=8000, help="port of the site (default: 8000)")
        parser.add_argument("--no-seed", action="store_true", help="do not load the demo project and its accounts")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until Ctrl-C; exit with 1 when it could not be brought up."""
        site = Site(settings.BASE_DIR, settings.VAR_DIR.absolute(), options["host"], options["port"])
        raise SystemExit(up(site, seed=not options["no_seed"], out=sys.stdout))
