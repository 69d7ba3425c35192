"""Content under its SHA-256: there whole or not at all."""

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from django.conf import settings

BLOCK = 1 << 20
INCOMING = "incoming"
INCOMING_LIFETIME = 24 * 3600
"""Seconds after which a half-written file or folder belongs to a process that was killed."""

Tick = Callable[[], None]
"""Called after every block, so that long copies can show signs of life."""


def no_tick() -> None:
    """For copies that nobody waits for."""


def blob_store(chunks: Iterable[bytes], *, tick: Tick = no_tick) -> tuple[str, int]:
    """Write aside, make it last, and rename to the place that its content gives it. Returns SHA-256 and bytes."""
    incoming = incoming_folder()
    digest, size = hashlib.sha256(), 0
    descriptor, aside = tempfile.mkstemp(dir=incoming)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for chunk in chunks:
                digest.update(chunk)
                size += file.write(chunk)
                tick()
            file.flush()
            os.fsync(descriptor)
        target = blob_path(digest.hexdigest())
        target.parent.mkdir(exist_ok=True)
        if target.exists() and file_sha256(target, tick=tick) == target.name:
            # It stays, because folders have hard links to it: another file would take its space again.
            Path(aside).unlink()
        else:
            Path(aside).replace(target)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
    folder_sync(target.parent)
    folder_sync(target.parent.parent)
    return digest.hexdigest(), size


def incoming_folder() -> Path:
    """Where files and folders are written before they are renamed; what killed processes left there is dropped."""
    incoming = Path(settings.ARTIFACT_ROOT, INCOMING)
    incoming.mkdir(parents=True, exist_ok=True)
    _sweep(incoming)
    _sweep(Path(settings.FILE_UPLOAD_TEMP_DIR))
    return incoming


def place_of(sha256: str) -> str:
    """Where content lies below the folder of artifacts."""
    return f"{sha256[:2]}/{sha256}"


def blob_path(sha256: str) -> Path:
    """Where content lies."""
    return Path(settings.ARTIFACT_ROOT, place_of(sha256))


def file_blocks(path: Path) -> Iterator[bytes]:
    """The content of a file, in blocks."""
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def file_sha256(path: Path, *, tick: Tick = no_tick) -> str:
    """The SHA-256 of a file's content."""
    digest = hashlib.sha256()
    for block in file_blocks(path):
        digest.update(block)
        tick()
    return digest.hexdigest()


def folder_sync(folder: Path) -> None:
    """Make the names in a folder last."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):  # another process may sweep as well
            if time.time() - path.stat().st_mtime > INCOMING_LIFETIME:
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
