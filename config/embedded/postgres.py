"""Runs the embedded PostgreSQL: on a socket in a folder of its own, with passwords, as durable as in production.

Its role is an ordinary one that may create databases (tests do). A superuser would bypass row security.
"""

import os
import shutil
import signal
import sys
from functools import cached_property
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from config.embedded import binaries, state
from config.embedded.server import Server
from config.embedded.state import EmbeddedError

SOCKET_PATH_BYTES = 107
SOCKET_NAME = ".s.PGSQL.5432"
SHORT_FOLDER = Path("/tmp")
LOCALE = "C.UTF-8" if sys.platform == "linux" else "en_US.UTF-8"
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "300",
    "shared_preload_libraries": "",
    "timezone": "UTC",
    "log_timezone": "UTC",
}


class Postgres(Server):
    title = "PostgreSQL"
    variable = "DATABASE_URL"
    stop_signal = signal.SIGINT

    @property
    def url(self) -> str:
        return f"postgresql://app:{self.password}@/app?host={quote(str(self.socket_folder))}"

    @cached_property
    def socket_folder(self) -> Path:
        """Returns a folder below the state folder, or a shorter one if the path is too long for a socket."""
        wanted = self.folder / "socket"
        if len(bytes(wanted / SOCKET_NAME)) <= SOCKET_PATH_BYTES:
            return wanted
        return SHORT_FOLDER / f"sightline-{state.digest(wanted)}"

    def prepare(self) -> list[str]:
        programs = binaries.postgres(self.folder, self.account)
        # A server of another major version could not read the data.
        data = self.folder / f"pgdata-{binaries.postgres_version(programs)}"
        if not data.exists():
            self._initialise(programs, data)
        # Nothing has the data open, because we hold the serving lock. The pid in this file may be in use again.
        (data / "postmaster.pid").unlink(missing_ok=True)
        self._make_socket_folder()
        settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
        return [str(programs / "postgres"), "-D", str(data), "-k", str(self.socket_folder), *settings]

    def answers(self) -> bool:
        """Returns whether the server answers. Creates role and database if they are missing, because its launcher may have
        been killed.
        """
        try:
            with psycopg.connect(
                host=str(self.socket_folder),
                user="postgres",
                password=self.password,
                dbname="postgres",
                connect_timeout=5,
                autocommit=True,
            ) as connection:
                self._provide(connection)
        except psycopg.OperationalError as error:
            if "authentication failed" in str(error):
                message = f"{self.folder}/password is not the one of its data: put it back, or remove the folder."
                raise EmbeddedError(message) from None
            return False
        return True

    def _provide(self, connection: psycopg.Connection) -> None:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = 'app'").fetchone():
            role = sql.SQL("CREATE ROLE app LOGIN CREATEDB PASSWORD {}")
            connection.execute(role.format(sql.Literal(self.password)))
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = 'app'").fetchone():
            connection.execute("CREATE DATABASE app OWNER app")

    def _initialise(self, programs: Path, data: Path) -> None:
        """Creates the data folder under a temporary name until it is complete, because a start may be interrupted."""
        fresh = data.with_name("pgdata-new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        self.account.own(fresh, 0o700)
        secret = self.account.own(state.write(self.folder / "password-for-initdb", self.password), 0o600)
        options = ["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", f"--locale={LOCALE}"]
        try:
            made = self.account.run(programs / "initdb", *options, f"--pwfile={secret}", "-D", fresh, seconds=300)
        finally:
            secret.unlink()
        if made.returncode != 0:
            words = " | ".join((made.stderr or made.stdout).strip().splitlines()[-4:])
            raise EmbeddedError(f"PostgreSQL's data folder {fresh} could not be made: {words}")
        fresh.rename(data)

    def _make_socket_folder(self) -> None:
        folder = self.socket_folder
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.lstat().st_uid not in (os.geteuid(), self.account.user):
            raise EmbeddedError(f"{folder} is another account's: remove it, or set STATE_DIR to a shorter path.")
        self.account.own(folder, 0o700)
