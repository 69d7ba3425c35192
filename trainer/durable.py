"""Files and folders that appear whole or not at all, whatever kills the process or the machine."""

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ASIDE = ".aside"
"""How the names end of what is being written. Nothing else is ever taken for a leftover."""


def aside_of(path: Path) -> Path:
    """Where a file or folder is written before it gets its name."""
    return path.with_name(f".{path.name}.{os.getpid()}{ASIDE}")


def synced(path: Path) -> None:
    """Wait until a file, or the list of names of a folder, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def json_text(value: object) -> str:
    """A value as JSON for people. Raises ValueError or TypeError for what JSON has no word for, NaN included."""
    return json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"


def json_write(path: Path, value: Mapping[str, Any]) -> None:
    """Write a JSON file in place of the old one; a reader sees the old or the new, never a part."""
    aside = aside_of(path)
    try:
        aside.write_text(json_text(value))
        synced(aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    synced(path.parent)


@contextmanager
def folder_aside(folder: Path) -> Iterator[Path]:
    """A new folder to fill, which takes the wanted name when the block ends well and vanishes when it does not.

    All its files are on disk before it has its name. Raises FileExistsError when the name is taken.
    """
    if folder.exists():
        raise FileExistsError(f"{folder} is there already.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(folder)
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir()
    try:
        yield aside
        for path in [*aside.rglob("*"), aside]:
            synced(path)
        aside.rename(folder)
        synced(folder.parent)
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def leftovers_remove(folder: Path) -> None:
    """Remove what killed processes left half-written directly in a folder that nobody else writes in."""
    for path in folder.glob(f".*{ASIDE}"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        else:
            path.unlink()
