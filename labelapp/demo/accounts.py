"""The accounts of the demo: their passwords are random, and kept in one private file for whoever runs the site."""

import json
import secrets
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from django.conf import settings

from labelapp.models import Membership, Project, Role, User
from labelapp.ops.endpoints import make_folder, write_private

SLUG = "demo"
"""Address of the demo project."""
ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
"""What passwords are made of: nothing that looks like something else."""
HEADINGS = ("Name", "Role", "E-mail", "Password")
CHANGED = "(changed)"


@dataclass(frozen=True)
class Account:
    """Somebody who can sign in to the demo, with the password as it was first set."""

    name: str
    role: str
    email: str
    password: str


def password_new() -> str:
    """A random password of 79 bits that can be read aloud."""
    return "-".join("".join(secrets.choice(ALPHABET) for _ in range(4)) for _ in range(4))


def accounts_path() -> Path:
    """The file that holds the passwords."""
    return Path(settings.VAR_DIR) / "demo-accounts.json"


def accounts_keep(accounts: Sequence[Account]) -> None:
    """Write the accounts to their file, in one step and durable. Raises OSError."""
    make_folder(accounts_path().parent)
    write_private(accounts_path(), json.dumps([asdict(account) for account in accounts], indent=2) + "\n")


def accounts_kept() -> list[Account]:
    """The accounts as the file holds them; none where it is missing, unreadable or no longer what was written."""
    try:
        return [Account(**fields) for fields in json.loads(accounts_path().read_text())]
    except (OSError, ValueError, TypeError):
        return []


def accounts_table() -> str:
    """Who can sign in to the demo, and how, in lines for a terminal; says so where that is not known."""
    if not Project.objects.filter(slug=SLUG).exists():
        return "There is no demo project here."
    rows = [_row(account) for account in accounts_kept() if _can_sign_in(account)]
    if not rows:
        return f"The passwords of the demo's accounts are not known: {accounts_path()} does not hold them."
    lines = ["Demo accounts:", *_columns([HEADINGS, *rows])]
    if any(row[-1] == CHANGED for row in rows):
        lines.append(f"The passwords marked {CHANGED} are no longer those in {accounts_path()}.")
    return "\n".join(lines)


def _can_sign_in(account: Account) -> bool:
    return User.objects.filter(email=account.email, is_active=True).exists()


def _row(account: Account) -> tuple[str, str, str, str]:
    """Name and role as they are now."""
    user = User.objects.get(email=account.email)
    membership = Membership.objects.filter(user=user, project__slug=SLUG, ended_at__isnull=True).first()
    role = Role(membership.role).label if membership else "no member now"
    password = account.password if user.check_password(account.password) else CHANGED
    return user.get_full_name(), role, user.email, password


def _columns(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
