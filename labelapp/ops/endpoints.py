"""Where the database and the broker answer, and the secret key: from the environment, else from what `var/` holds."""

import os
import secrets
from pathlib import Path

from labelapp.env import env_str

FALLBACK_DATABASE = "postgresql://app@127.0.0.1:5433/app"
FALLBACK_BROKER = "redis://127.0.0.1:6380/0"


class SecretKeyError(RuntimeError):
    """There is no secret key and none can be made."""


def postgres_folder(var: Path) -> Path:
    """Folder of the embedded PostgreSQL."""
    return var / "postgres"


def redis_folder(var: Path) -> Path:
    """Folder of the embedded redis."""
    return var / "redis"


def secret_key(var: Path) -> str:
    """Return PREFLOOP_SECRET_KEY, else the content of `var/secret_key`, made on first use.

    Raises SecretKeyError when the file is empty, unreadable or cannot be written.
    """
    return env_str("PREFLOOP_SECRET_KEY") or _kept_secret(var / "secret_key")


def database_url(var: Path) -> str:
    """Return DATABASE_URL, else the address of the running embedded PostgreSQL, else one that nothing may answer."""
    return env_str("DATABASE_URL") or _read(postgres_folder(var) / "url") or FALLBACK_DATABASE


def broker_url(var: Path) -> str:
    """Return CELERY_BROKER_URL, else the address of the running embedded redis, else one that nothing may answer."""
    return env_str("CELERY_BROKER_URL") or _read(redis_folder(var) / "url") or FALLBACK_BROKER


def make_folder(folder: Path) -> Path:
    """Make a folder of `var/` that other users cannot list. One that exists keeps its mode.

    Under root others may still pass through it: the embedded PostgreSQL then runs as another user.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o711 if os.geteuid() == 0 else 0o700, exist_ok=True)
    return folder


def write_private(path: Path, text: str) -> None:
    """Replace a file in one step by one that only its owner can read, durable before this returns."""
    aside = _write_aside(path, text)
    aside.replace(path)


def kept_password(path: Path) -> str:
    """Return the random password of this file, made on first use."""
    return _read(path) or _keep_first(path, secrets.token_urlsafe(32))


def _kept_secret(path: Path) -> str:
    try:
        kept = path.read_text().strip() if path.exists() else _keep_first(path, secrets.token_urlsafe(64))
    except OSError as error:
        reason = f"{path} can be neither read nor made ({error.strerror})"
        raise SecretKeyError(f"PREFLOOP_SECRET_KEY is not set, and {reason}. Set the variable.") from error
    if not kept:
        raise SecretKeyError(f"{path} is empty. Delete it to have a new key made (everyone signs in again).")
    return kept


def _keep_first(path: Path, text: str) -> str:
    """Write the file unless another process was first, and return what it holds."""
    make_folder(path.parent)
    aside = _write_aside(path, text)
    try:
        path.hardlink_to(aside)  # fails where the name is taken, unlike a rename
    except FileExistsError:
        return path.read_text().strip()
    finally:
        aside.unlink()
    return text


def _write_aside(path: Path, text: str) -> Path:
    aside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        aside.unlink()
        raise
    return aside


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return ""
