"""Files and folders by content: published once, found again by their SHA-256."""

import errno
from collections.abc import Iterable
from pathlib import Path

from django.conf import settings

from labelapp.artifacts.blobs import Tick, blob_store, file_blocks, file_sha256, no_tick, place_of
from labelapp.artifacts.folders import folder_localise, folder_store
from labelapp.errors import DomainError
from labelapp.models import Artifact, Project

NAME_LIMIT = 255
SCHEME = "local:"


def artifact_publish(*, path: Path, project: Project, kind: Artifact.Kind, name: str, tick: Tick = no_tick) -> Artifact:
    """Keep a copy of a file or a folder. The same content is kept once, the same content under the same name is the
    same artifact. `tick` is called after every block that was copied.

    Raises DomainError when something cannot be read, or the copy cannot be written.
    """
    try:
        if path.is_dir():
            sha256, size = folder_store(path, tick=tick)
            return _artifact(project, kind, name, sha256, size, is_folder=True)
    except OSError as error:
        raise DomainError(_said(error)) from error
    return artifact_write(chunks=file_blocks(path), project=project, kind=kind, name=name, tick=tick)


def artifact_write(
    *, chunks: Iterable[bytes], project: Project, kind: Artifact.Kind, name: str, tick: Tick = no_tick
) -> Artifact:
    """As `artifact_publish`, for content that is not a file yet."""
    try:
        sha256, size = blob_store(chunks, tick=tick)
    except OSError as error:
        raise DomainError(_said(error)) from error
    return _artifact(project, kind, name, sha256, size, is_folder=False)


def artifact_localise(artifact: Artifact, *, verify: bool = False, tick: Tick = no_tick) -> Path:
    """The path of the content on this machine; with `verify`, only after reading it all, with a `tick` per block.

    A folder's files must not be written to. Raises DomainError when something is gone or damaged.
    """
    if artifact.is_folder:
        try:
            return folder_localise(artifact.sha256, artifact.name, verify=verify, tick=tick)
        except OSError as error:
            raise DomainError(_said(error)) from error
    path = Path(settings.ARTIFACT_ROOT, artifact.uri.removeprefix(SCHEME))
    mend = "Restore the folder of artifacts from a backup, or upload the file again."
    if not path.is_file():
        raise DomainError(f"The file “{artifact.name}” is missing: there is no {path}. {mend}")
    if path.stat().st_size != artifact.size or (verify and file_sha256(path, tick=tick) != artifact.sha256):
        raise DomainError(f"The file “{artifact.name}” is damaged: {path} is not what was saved. {mend}")
    return path


def _artifact(project: Project, kind: Artifact.Kind, name: str, sha256: str, size: int, *, is_folder: bool) -> Artifact:
    artifact, _ = Artifact.objects.get_or_create(
        project=project,
        kind=kind,
        sha256=sha256,
        name=_plain_name(name),
        defaults={"size": size, "is_folder": is_folder, "uri": f"{SCHEME}{place_of(sha256)}"},
    )
    return artifact


def _plain_name(name: str) -> str:
    """The last part of a path without what a page or a header cannot show."""
    kept = "".join(character for character in Path(name).name if character.isprintable())
    return kept[-NAME_LIMIT:] or "file"


def _said(error: OSError) -> str:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"The disk of {settings.ARTIFACT_ROOT} is full; nothing was kept. Make room and try again."
    where = error.filename or settings.ARTIFACT_ROOT
    return f"{where} cannot be read or written ({error.strerror}); nothing was kept."
