"""Decides where the embedded servers keep their files, and under which account they run.

PostgreSQL refuses to run as root. For root both servers therefore run under an existing account. No account is added and no
existing folder is opened to it. A checkout that the account cannot reach (below root's home) has its state in a folder of
root's own instead.
"""

import hashlib
import os
import pwd
import secrets
import stat
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from config import environment, setting_types

CHECKOUT = Path(__file__).resolve().parents[2]
PERSISTENT_TEMPORARY = Path("/var/tmp")
SERVER_ACCOUNTS = ("postgres", "nobody")


class EmbeddedError(Exception):
    """Reports, in one line, why an embedded server cannot be had."""


@dataclass(frozen=True)
class SystemAccount:
    """Names the account of the servers; without a user it is the present one."""

    user: int | None = None
    group: int | None = None

    @property
    def groups(self) -> list[int] | None:
        """Returns the supplementary groups for subprocess: none for another account, else unchanged."""
        return None if self.user is None else []

    def run(self, *command: str | Path, seconds: float = 60) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command,
            user=self.user,
            group=self.group,
            extra_groups=self.groups,
            cwd="/",
            env=of_servers(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    def reaches(self, path: Path) -> bool:
        return self.user is None or self.run("test", "-x", path).returncode == 0

    def own(self, path: Path, mode: int) -> Path:
        """Gives the path to the account, for it alone."""
        path.chmod(mode)
        if self.user is not None and self.group is not None:
            os.chown(path, self.user, self.group)
        return path


def account() -> SystemAccount:
    if os.geteuid() != 0:
        return SystemAccount()
    for name in SERVER_ACCOUNTS:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return SystemAccount(entry.pw_uid, entry.pw_gid)
    raise EmbeddedError("PostgreSQL does not run as root, and there is no account postgres or nobody to run it as.")


def account_or_ours() -> SystemAccount:
    """Returns the servers' account, or the present one on a machine that has none."""
    try:
        return account()
    except EmbeddedError:
        return SystemAccount()


def of_servers() -> dict[str, str]:
    """Returns the servers' environment, without our secrets and without a locale that they may not have."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


def folder(environ: Mapping[str, str], owner: SystemAccount) -> Path:
    """Returns the state folder: STATE_DIR, else .local in the checkout, else (see above) one of root's own."""
    wanted = environment.Environment(environ).read("STATE_DIR", setting_types.folder(CHECKOUT), CHECKOUT / ".local")
    make(wanted, owner)
    if owner.reaches(wanted):
        return wanted
    return private(PERSISTENT_TEMPORARY / f"sightline-{digest(wanted)}", owner)


def make(wanted: Path, owner: SystemAccount) -> None:
    """Makes the folder and those above it, as far as they are not there."""
    for path in (*reversed(wanted.parents), wanted):
        if not os.path.isdir(path):
            private(path, owner)


def private(path: Path, owner: SystemAccount) -> Path:
    """Creates a folder that only our account can read, and that the servers' account may pass through."""
    try:
        path.mkdir(exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise EmbeddedError(f"{path} cannot be used ({error.strerror}): set STATE_DIR to a folder of yours.") from None
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise EmbeddedError(f"{path} belongs to another account: remove it, or set STATE_DIR to a folder of yours.")
    if owner.group is None:
        path.chmod(0o700)
    else:
        os.chown(path, -1, owner.group)
        path.chmod(0o710)
    return path


def password(path: Path) -> str:
    """Returns the secret in the file; creates it at the first call."""
    if not path.exists():
        write(path, secrets.token_hex(24))
    return path.read_text().strip()


def write(path: Path, text: str) -> Path:
    """Writes a file that only we can read, whole or not at all."""
    fresh = path.with_name(path.name + ".new")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    return fresh.replace(path)


def digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]
