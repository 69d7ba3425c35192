"""Room on disk: asked for before a training, and what is said when it ends all the same."""

import errno
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from trainer.records import CHECKPOINTS
from trainer.runs import CommandError, InputError

# No room on the device, in the quota, or in what a file may hold.
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3))


class DiskFullError(CommandError):
    """The disk is full. What was complete still is; the same command goes on from there once there is room."""


def disk_check(folder: Path, needed: int) -> None:
    """Raise InputError when fewer bytes are free for a run folder than its checkpoints and its model will need.

    What its checkpoints take up already is theirs.
    """
    there = sum(path.stat().st_size for path in (folder / CHECKPOINTS).rglob("*") if path.is_file())
    free = shutil.disk_usage(folder).free
    if needed > there + free:
        raise InputError(
            f"The disk of {folder} has {size_text(free)} free, and this training needs {size_text(needed - there)} "
            "for its checkpoints and its model. Make room, choose another --output, or keep fewer checkpoints "
            "(checkpoints_kept)."
        )


@contextmanager
def disk_watched(folder: Path) -> Iterator[None]:
    """Raise DiskFullError in place of what says that the disk is full, whichever library found out."""
    try:
        yield
    except Exception as error:
        if not disk_full(error):
            raise
        raise DiskFullError(
            f"The disk is full: {folder} could not be written, {size_text(shutil.disk_usage(folder).free)} are free. "
            "Every checkpoint that is there is whole. Make room and start the same command again to go on."
        ) from error


def disk_full(error: BaseException) -> bool:
    """Whether an error says that there is no room for a file. safetensors says it in words."""
    if isinstance(error, OSError):
        return error.errno in _FULL
    found = re.search(r"\(os error (\d+)\)", str(error)) if type(error).__name__ == "SafetensorError" else None
    return found is not None and int(found[1]) in _FULL


def size_text(size: float) -> str:
    """A number of bytes for people: 1.5 GB."""
    for unit, one in _UNITS:
        if size >= one:
            return f"{size / one:.1f} {unit}"
    return f"{size:.0f} bytes"
