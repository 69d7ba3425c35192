"""Run a command as root where user namespaces are refused, as in a container with the usual guard.

`python no_namespaces.py COMMAND…`. It enters a namespace that maps every user to itself, and forbids more inside it.
"""

import ctypes
import os
import sys
from pathlib import Path

CLONE_NEWUSER = 0x10000000
EVERY_USER = "0 0 65536\n"


def main(command: list[str]) -> int:
    """Return the command's exit code."""
    entered, entered_end = os.pipe()
    mapped, mapped_end = os.pipe()
    child = os.fork()
    if child == 0:
        if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWUSER) != 0:
            os._exit(99)
        os.write(entered_end, b"x")
        os.read(mapped, 1)
        Path("/proc/sys/user/max_user_namespaces").write_text("0")
        os.execvp(command[0], command)
    os.close(entered_end)
    if os.read(entered, 1):
        for name in ("uid_map", "gid_map"):
            Path(f"/proc/{child}/{name}").write_text(EVERY_USER)
        os.write(mapped_end, b"x")
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
