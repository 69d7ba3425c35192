"""Locks that end with the process that holds them, however it ends."""

import fcntl
import os
from pathlib import Path
from typing import IO

from labelapp.ops.endpoints import make_folder


def take_lock(path: Path) -> IO[str] | None:
    """Lock the file (made if missing, its text kept) and return it open, or None when another process holds it.

    Closing the file lets go of the lock; children do not inherit it.
    """
    make_folder(path.parent)
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "a+")  # 0600: who reads can lock
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
