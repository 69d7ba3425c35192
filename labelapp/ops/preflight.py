"""What is checked before anything starts, so that the commonest troubles are told in a sentence."""

import errno
import os
import shutil
import socket
from pathlib import Path
from typing import IO

from labelapp.ops.locks import take_lock

ROOM_NEEDED = 500 * 1024 * 1024


class UpError(RuntimeError):
    """The site cannot be brought up. The message says what is wrong and how to mend it."""


def claim(var: Path, address: str) -> IO[str]:
    """Take the lock that only one running site of this folder has, and note its process and address in it.

    Raises UpError when a site runs already.
    """
    path = var / "up.lock"
    lock = take_lock(path)
    if lock is None:
        process, where = [*path.read_text().split("\n"), "", ""][:2]
        raise UpError(
            f"Prefloop is already running here: {where} (process {process}).\n"
            f"Stop it with Ctrl-C in its window, or with: kill {process}"
        )
    lock.truncate(0)
    lock.write(f"{os.getpid()}\n{address}\n")
    lock.flush()
    return lock


def check_port(host: str, port: int) -> None:
    """Raise UpError when the web server could not listen there."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise UpError(_port_trouble(host, port, error)) from error


def check_room(folder: Path, needed: int = ROOM_NEEDED) -> None:
    """Raise UpError when fewer than `needed` bytes are free on the disk of the folder."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise UpError(
            f"The disk that holds {folder} has {free // 2**20} MB free, and Prefloop needs {needed // 2**20} MB. "
            "Make room on it, or set PREFLOOP_VAR to a folder on another disk."
        )


def disk_full(error: OSError, folder: Path) -> str:
    """Say an error of the operating system plainly, above all a full disk."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full ({error.filename or folder}). Make room on it and start again; nothing is lost."
    return f"{error}. This came up while starting; the data in {folder} is untouched."


def _port_trouble(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return (
            f"Port {port} of {host} is in use by another program. Stop that program, or take another port:\n"
            f"  make run PORT={port + 1}      (or: python manage.py up --port {port + 1})"
        )
    if error.errno == errno.EACCES:
        return f"Port {port} needs more rights than this user has. Take one above 1023 with --port."
    return f"Nothing can listen on {host}, port {port}: {error.strerror}. Correct --host or --port."
