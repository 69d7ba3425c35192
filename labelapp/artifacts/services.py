"""Files by content: published once, found again by their SHA-256."""

import errno
import hashlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from django.conf import settings

from labelapp.errors import DomainError
from labelapp.models import Artifact, Project

BLOCK = 1 << 20
NAME_LIMIT = 255
SCHEME = "local:"
INCOMING = "incoming"
INCOMING_LIFETIME = 24 * 3600
"""Seconds after which a half-written file belongs to a process that was killed."""


def artifact_publish(*, path: Path, project: Project, kind: Artifact.Kind, name: str) -> Artifact:
    """Keep a copy of a file. The same content is kept once, the same content under the same name is the same artifact.

    Raises DomainError when the file cannot be read, or the copy cannot be written.
    """
    return artifact_write(chunks=_blocks(path), project=project, kind=kind, name=name)


def artifact_write(*, chunks: Iterable[bytes], project: Project, kind: Artifact.Kind, name: str) -> Artifact:
    """As `artifact_publish`, for content that is not a file yet."""
    try:
        sha256, size = _store(chunks)
    except OSError as error:
        raise DomainError(_said(error)) from error
    artifact, _ = Artifact.objects.get_or_create(
        project=project,
        kind=kind,
        sha256=sha256,
        name=_plain_name(name),
        defaults={"size": size, "uri": f"{SCHEME}{_place(sha256)}"},
    )
    return artifact


def artifact_localise(artifact: Artifact, *, verify: bool = False) -> Path:
    """The path of the content on this machine; with `verify`, only after reading it all.

    Raises DomainError when it is gone or damaged.
    """
    path = Path(settings.ARTIFACT_ROOT, artifact.uri.removeprefix(SCHEME))
    mend = "Restore the folder of artifacts from a backup, or upload the file again."
    if not path.is_file():
        raise DomainError(f"The file “{artifact.name}” is missing: there is no {path}. {mend}")
    if path.stat().st_size != artifact.size or (verify and _sha256(path) != artifact.sha256):
        raise DomainError(f"The file “{artifact.name}” is damaged: {path} is not what was saved. {mend}")
    return path


def _store(chunks: Iterable[bytes]) -> tuple[str, int]:
    """Write aside, make it last, and rename to the place that its content gives it: there whole or not at all."""
    incoming = Path(settings.ARTIFACT_ROOT, INCOMING)
    incoming.mkdir(parents=True, exist_ok=True)
    _sweep(incoming)
    _sweep(Path(settings.FILE_UPLOAD_TEMP_DIR))
    digest, size = hashlib.sha256(), 0
    descriptor, aside = tempfile.mkstemp(dir=incoming)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for chunk in chunks:
                digest.update(chunk)
                size += file.write(chunk)
            file.flush()
            os.fsync(descriptor)
        target = Path(settings.ARTIFACT_ROOT, _place(digest.hexdigest()))
        target.parent.mkdir(exist_ok=True)
        Path(aside).replace(target)
    except BaseException:
        Path(aside).unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)
    _sync_folder(target.parent.parent)
    return digest.hexdigest(), size


def _place(sha256: str) -> str:
    return f"{sha256[:2]}/{sha256}"


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            yield block


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    for block in _blocks(path):
        digest.update(block)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sweep(folder: Path) -> None:
    """Drop what killed processes left half-written."""
    for path in folder.glob("*"):
        with suppress(FileNotFoundError):  # another process may sweep as well
            if path.is_file() and time.time() - path.stat().st_mtime > INCOMING_LIFETIME:
                path.unlink()


def _plain_name(name: str) -> str:
    """The last part of a path without what a page or a header cannot show."""
    kept = "".join(character for character in Path(name).name if character.isprintable())
    return kept[-NAME_LIMIT:] or "file"


def _said(error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"The disk of {settings.ARTIFACT_ROOT} is full; nothing was kept. Make room and try again."
    where = error.filename or settings.ARTIFACT_ROOT
    return f"{where} cannot be read or written ({error.strerror}); nothing was kept."
