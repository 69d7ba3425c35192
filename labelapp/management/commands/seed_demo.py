"""`manage.py seed_demo`: make the demo's two projects, once; or say who can sign in to them."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from labelapp.demo.accounts import accounts_path, accounts_table
from labelapp.demo.notes import notes_seed
from labelapp.demo.seed import NAME, demo_seed
from labelapp.errors import DomainError


class Command(BaseCommand):
    """Thin: what the demo is stands in `labelapp/demo/`."""

    help = "Make the demo's projects with their accounts, unless they were made before."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare --print-accounts."""
        parser.add_argument("--print-accounts", action="store_true", help="only say who can sign in, and how")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make it or say that it is there; exit with 1 when it cannot be made."""
        if options["print_accounts"]:
            self.stdout.write(accounts_table())
            return
        try:
            accounts = demo_seed()
            notes = notes_seed()
        except (DomainError, OSError) as error:
            raise CommandError(f"{error} Nothing half-made was kept.") from error
        if accounts:
            self.stdout.write(f"Made the project “{NAME}”. Its accounts and their passwords are in {accounts_path()}.")
        if notes:
            self.stdout.write(f"Made the project “{notes.name}”, in which a small model learns.")
        if not accounts and not notes:
            self.stdout.write("The demo was made before; nothing is changed.")
