"""Start a program that ends with its parent, as another user if asked.

Run by path, so that nothing else is imported: `python -I -S leash.py PARENT SIGNAL IDENTITY COMMAND…`.
It becomes the program by exec, so the process id stays.
IDENTITY is `self`, `UID:GID`, or `namespace:UID` with the user to be on the inside.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
CANNOT_RUN = 126


def leashed(command: Sequence[str], death_signal: signal.Signals, identity: str = "self") -> list[str]:
    """Return the command line that runs `command` on a leash held by this process.

    The kernel sends `death_signal` when the thread that starts it ends, so start it from the main thread.
    """
    script = str(Path(__file__).resolve())
    return [sys.executable, "-I", "-S", script, str(os.getpid()), str(int(death_signal)), identity, *command]


def become(identity: str) -> None:
    """Take on the identity, for good. Raises OSError where the system refuses."""
    kind, _, rest = identity.partition(":")
    if kind == "namespace":
        _enter_user_namespace(int(rest))
    elif kind != "self":
        uid, gid = int(kind), int(rest)
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)


def _enter_user_namespace(inside: int) -> None:
    """Be another user on the inside and the same user on the outside: files keep their owner."""
    uid, gid = os.geteuid(), os.getegid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWUSER) != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"user namespaces are refused: {os.strerror(code)}")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{inside} {uid} 1")
    Path("/proc/self/gid_map").write_text(f"{inside} {gid} 1")


def tie_to(parent: int, death_signal: int) -> None:
    """Ask the kernel to send the signal when the parent ends; leave at once if it has ended already."""
    if sys.platform == "linux":  # comes after `become`, which would clear it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, death_signal)
    if os.getppid() != parent:
        raise SystemExit(CANNOT_RUN)


def main(arguments: Sequence[str]) -> None:
    """Become the program named on the command line."""
    parent, death_signal, identity, *command = arguments
    try:
        become(identity)
        tie_to(int(parent), int(death_signal))
        os.execvp(command[0], command)
    except OSError as error:
        print(f"{command[0]} cannot be run as {identity}: {error}", file=sys.stderr)
        raise SystemExit(CANNOT_RUN) from error


if __name__ == "__main__":
    main(sys.argv[1:])
