"""Folders by content: each file is kept by its SHA-256, and so is the list of them, whose SHA-256 names the folder."""

import json
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

from django.conf import settings

from labelapp.artifacts.blobs import (
    Tick,
    blob_path,
    blob_store,
    file_blocks,
    file_sha256,
    folder_sync,
    incoming_folder,
    no_tick,
)
from labelapp.errors import DomainError
from trainer.records import canonical

FOLDERS = "folders"
RESTORE = "Restore the folder of artifacts from a backup, or make it again."


class FolderFile(TypedDict):
    """A file of a folder; `path` is relative, with slashes."""

    path: str
    sha256: str
    size: int


def folder_store(folder: Path, *, tick: Tick = no_tick) -> tuple[str, int]:
    """Keep a copy of every file. Returns the SHA-256 of their canonical list, and the bytes of all of them.

    Raises DomainError when the folder is empty or holds what is neither file nor folder.
    """
    files: list[FolderFile] = []
    for path in _files_of(folder):
        sha256, size = blob_store(file_blocks(path), tick=tick)
        files.append({"path": path.relative_to(folder).as_posix(), "sha256": sha256, "size": size})
    listing, _ = blob_store([canonical(files)])
    return listing, sum(file["size"] for file in files)


def folder_localise(sha256: str, name: str, *, verify: bool, tick: Tick = no_tick) -> Path:
    """The folder on this machine; with `verify`, only after reading it all.

    Its files are links to what is kept: never write into them. Raises DomainError when one is gone or damaged.
    """
    files = _listing(sha256, name)
    target = Path(settings.ARTIFACT_ROOT, FOLDERS, sha256)
    if target.is_dir() and _problem(target, files, verify=verify, tick=tick):
        # It is only links and copies: what a crash or a person left of it is made again from what was kept.
        _drop(target)
    if not target.is_dir():
        _build(target, files, name)
    if problem := _problem(target, files, verify=verify, tick=tick):
        raise DomainError(f"The folder “{name}” is damaged: {problem}. {RESTORE}")
    return target


def _files_of(folder: Path) -> list[Path]:
    """The files below a folder in the order of their names."""
    files = []
    for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).as_posix()):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise DomainError(f"{path} is neither a file nor a folder; nothing of {folder} was kept.")
        if path.is_file():
            files.append(path)
    if not files:
        raise DomainError(f"The folder {folder} holds no files; nothing was kept.")
    return files


def _listing(sha256: str, name: str) -> list[FolderFile]:
    path = blob_path(sha256)
    if not path.is_file():
        raise DomainError(f"The folder “{name}” is missing: there is no {path}. {RESTORE}")
    if file_sha256(path) != sha256:
        raise DomainError(f"The folder “{name}” is damaged: {path} is not what was saved. {RESTORE}")
    files: list[FolderFile] = json.loads(path.read_bytes())
    return files


def _build(target: Path, files: list[FolderFile], name: str) -> None:
    """Put the folder together aside and rename it; another process may be first."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(dir=incoming_folder()))
    try:
        for file in files:
            _bring(file, aside / file["path"], name)
        aside.replace(target)
        folder_sync(target.parent)
    except OSError:
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _bring(file: FolderFile, to: Path, name: str) -> None:
    """Link a kept file, or copy it where the disk has no links."""
    source = blob_path(file["sha256"])
    if not source.is_file():
        raise DomainError(f"“{file['path']}” of the folder “{name}” is missing: there is no {source}. {RESTORE}")
    to.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, to)
    except OSError:
        shutil.copyfile(source, to)


def _problem(target: Path, files: list[FolderFile], *, verify: bool, tick: Tick) -> str:
    """What is wrong with a folder on this machine; empty when nothing is."""
    for file in files:
        path = target / file["path"]
        if not path.is_file() or path.stat().st_size != file["size"]:
            return f"{path} is not what was saved"
        if verify and file_sha256(path, tick=tick) != file["sha256"]:
            return f"{path} is not what was saved"
    extra = {path.relative_to(target).as_posix() for path in target.rglob("*") if not path.is_dir()}
    extra -= {file["path"] for file in files}
    return f"{target / min(extra)} was never saved" if extra else ""


def _drop(target: Path) -> None:
    """Rename first: whoever reads it goes on reading, and nobody meets half a folder."""
    aside = Path(tempfile.mkdtemp(dir=incoming_folder()))
    with suppress(FileNotFoundError):  # another process may drop it as well
        target.replace(aside)
    shutil.rmtree(aside, ignore_errors=True)
