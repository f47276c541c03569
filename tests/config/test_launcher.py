"""Tests `make serve` as its user sees it: addresses that answer, processes that are restarted, and nothing left at the end."""

from __future__ import annotations

import base64
import json
import os
import re
import secrets
import signal
import socket
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image
from pytest_django import Settings

from config.launcher import ports
from config.launcher.process import Process
from config.launcher.reaper import Reaper
from tests import programs
from tests.config.conftest import As
from tests.patience import until

pytestmark = pytest.mark.long

NO_SERVERS = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none", "REDIS_URL": "redis://127.0.0.1:9/0"}


def free_port() -> str:
    return str(ports.chosen("PORT", 0))


class Served:
    """Runs a `serve` until it is ready, and keeps what it printed."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder = folder
        self.environment = {"PORT": free_port(), "SANDBOX_PORT": free_port(), **environment}
        self.program = programs.start(folder, "serve", **self.environment)
        self.welcome = programs.read_until(self.program, "costs nothing")
        self.web = f"http://127.0.0.1:{self.environment['PORT']}"

    def printed(self, name: str) -> str:
        found = re.search(rf"^ *{name} +(.*)$", self.welcome, re.MULTILINE)
        assert found is not None, self.welcome
        return found[1]

    def worker(self, name: str) -> psutil.Process:
        """Returns the main process of a worker."""
        return next(
            process
            for process in programs.processes_of(self.folder)
            if f"{name}@" in " ".join(process.cmdline()) and process.ppid() == self.program.pid
        )

    def server(self, application: str) -> psutil.Process:
        """Returns the process that watches over a web server's workers."""
        return next(child for child in psutil.Process(self.program.pid).children() if application in child.cmdline())

    @staticmethod
    def workers_of(server: psutil.Process) -> list[psutil.Process]:
        """Returns the processes of a web server that answer requests."""
        children = [child for child in server.children() if child.status() != psutil.STATUS_ZOMBIE]
        return [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with programs.state_folder() as path:
        yield path


@pytest.fixture
def served(folder: Path) -> Iterator[Served]:
    serve = Served(folder)
    with serve.program:
        yield serve
        serve.program.terminate()


def search(served: Served) -> httpx.Response:
    file = BytesIO()
    Image.new("RGB", (60, 80), "teal").save(file, "JPEG")
    return httpx.post(
        f"{served.web}/v1/searches",
        headers={"Authorization": f"Bearer {served.printed('Test key')}", "Prefer": "wait=20"},
        files={"image": ("picture", file.getvalue())},
        data={"request": json.dumps({"lookups": [{"source": "tiktok-creators", "limit": 5}]})},
        timeout=30,
    )


def exchanged(served: Served, request: bytes) -> bytes:
    """Returns the first line of the answer."""
    with socket.create_connection(("127.0.0.1", int(served.environment["PORT"])), timeout=20) as connection:
        connection.sendall(request + b"\r\n\r\n")
        return connection.makefile("rb").readline()


def test_serve_answers_at_what_it_prints_mends_itself_and_leaves_no_process_after_a_signal(served: Served) -> None:
    answers_at_what_it_prints(served)
    mends_itself(served)
    leaves_no_process_after_a_signal(served)


def answers_at_what_it_prints(served: Served) -> None:
    found = search(served).json()
    assert (found["status"], found["lookups"][0]["result_count"]) == ("succeeded", 5)
    assert httpx.get(f"{served.web}/docs").is_success
    sends_small_files_that_browsers_keep(served)
    assert served.printed("API") == f"{served.web}/v1"
    for request in (b"GET /readyz HTTP/1.0", b"GET /readyz HTTP/1.1\r\nHost: elsewhere\r\nConnection: close"):
        assert b" 200 OK" in exchanged(served, request)


def sends_small_files_that_browsers_keep(served: Served) -> None:
    page = httpx.get(f"{served.web}/admin/login/")
    (style,) = re.findall(r'href="(/static/sightline/bundles/admin\.\w+\.css)"', page.text)
    answer = httpx.get(f"{served.web}{style}", headers={"Accept-Encoding": "br"})
    assert answer.headers["Content-Encoding"] == "br"
    assert "immutable" in answer.headers["Cache-Control"]


def mends_itself(served: Served) -> None:
    server = served.server("config.wsgi:application")
    dying = served.workers_of(server)[0]
    dying.kill()
    # Connections that it had accepted end with it.
    dying.wait(timeout=10)
    for _ in range(100):
        assert httpx.get(f"{served.web}/healthz", timeout=20).is_success
    until(lambda: len(served.workers_of(server)) == 2, "the worker was not started again")
    assert server.is_running()

    killed = served.worker("sandbox-searches")
    killed.kill()
    assert "sandbox-searches has ended (exit code -9)" in programs.read_until(served.program, "started again in 1 s")
    assert search(served).json()["status"] == "succeeded"

    code, said = programs.run(served.folder, "serve", PORT=free_port(), SANDBOX_PORT=free_port())
    assert code == 2
    assert f"A Sightline runs from {served.folder} already" in said


def leaves_no_process_after_a_signal(served: Served) -> None:
    served.program.send_signal(signal.SIGINT)
    served.program.send_signal(signal.SIGINT)
    assert served.program.wait(timeout=20) == 0
    assert programs.processes_of(served.folder) == []
    assert served.program.stdout is not None
    stopping, stopped = served.program.stdout.read().strip().splitlines()
    assert stopping.startswith("Stopping: calls under way are finished first")
    assert stopped == "Stopped."


def test_no_process_is_left_after_the_launcher_was_killed(served: Served) -> None:
    assert len(programs.processes_of(served.folder)) > 20
    served.program.kill()
    until(lambda: not programs.processes_of(served.folder), "processes outlived their launcher")


@pytest.mark.parametrize(("command", "variable"), [("serve", "PORT"), ("demo", "SANDBOX_PORT")])
def test_a_taken_port_costs_one_clear_line(tmp_path: Path, command: str, variable: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        usual = {"PORT": free_port(), "SANDBOX_PORT": free_port()}
        code, said = programs.run(tmp_path, command, **NO_SERVERS, **usual | {variable: str(port)})
    assert code == 2
    assert (
        said
        == f"Port {port} is taken by another program: end that one, or choose another port with {variable}=<port>.\n"
    )


@pytest.mark.parametrize("command", ["serve", "demo"])
@pytest.mark.parametrize("told", [{"PORT": "8123", "SANDBOX_PORT": "8123"}, {"PORT": "8010"}, {"SANDBOX_PORT": "8000"}])
def test_one_port_for_both_servers_costs_one_line_before_anything_starts(
    tmp_path: Path, command: str, told: dict[str, str]
) -> None:
    if command == "demo" and len(told) < 2:
        pytest.skip("the demo takes a free port for what is not named")
    code, said = programs.run(tmp_path, command, **NO_SERVERS, **told)
    port = next(iter(told.values()))
    asked = "choose another port for one of them with PORT or SANDBOX_PORT."
    assert (code, said) == (2, f"PORT and SANDBOX_PORT are both {port}: {asked}\n")
    assert not (tmp_path / "logs").exists()


def test_a_database_that_does_not_answer_costs_one_clear_line(tmp_path: Path) -> None:
    free = {"PORT": free_port(), "SANDBOX_PORT": free_port()}
    code, said = programs.run(tmp_path, "serve", **NO_SERVERS, **free)
    assert code == 2
    assert said.splitlines()[1].startswith("DATABASE_URL: the database does not answer: ")
    assert len(said.splitlines()) == 2


PRODUCTION = {
    **NO_SERVERS,
    "PRODUCTION": "true",
    "SECRET_KEY": secrets.token_urlsafe(50),
    "CREDENTIAL_KEYS": "2026-1:" + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    "PUBLIC_URL": "https://sightline.example.com",
}


@pytest.mark.parametrize("command", ["serve", "demo"])
def test_launchers_refuse_production(tmp_path: Path, command: str) -> None:
    code, said = programs.run(tmp_path, command, **PRODUCTION)
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith(f"PRODUCTION is set, and `{command}` makes ")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("command", [["audit_ledger"], ["grant_credits", "Acme", "modash", "1"]])
def test_a_command_reports_an_unreachable_database_in_one_line(tmp_path: Path, command: list[str]) -> None:
    code, said = programs.run(tmp_path, *command, **NO_SERVERS)
    assert (code, "Traceback" in said) == (1, False)
    assert said.splitlines()[-1].startswith("DATABASE_URL: the database cannot be used: ")


def test_a_redis_that_answers_and_refuses_is_named_before_anything_starts(
    tmp_path: Path, as_account: As, settings: Settings
) -> None:
    as_account("~*", "&*", "+@all", "-info")
    servers = {"DATABASE_URL": os.environ["DATABASE_URL"], "REDIS_URL": settings.REDIS_URL}
    code, said = programs.run(tmp_path, "serve", **servers, PORT=free_port(), SANDBOX_PORT=free_port())
    assert code == 2
    assert said.splitlines()[-1] == "REDIS_URL: Redis does not let this account run INFO; Sightline needs it."
    assert not (tmp_path / "logs/web.log").read_text()


@pytest.mark.parametrize("command", ["serve", "migrate"])
def test_a_secret_that_production_lacks_costs_one_clear_line(tmp_path: Path, command: str) -> None:
    code, said = programs.run(tmp_path, command, **NO_SERVERS, PRODUCTION="true", SECRET_KEY="")
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith("SECRET_KEY is not set.")


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("PORT", "a whole number from 1 to 65535"),
        ("PRODUCTION", "true or false"),
        ("OUTBOUND_PORTS", "port numbers such as 80,443"),
        ("OUTBOUND_ALLOW", "networks such as 127.0.0.0/8,::1/128, each by its first address"),
    ],
)
def test_a_setting_of_the_wrong_kind_costs_one_clear_line(tmp_path: Path, name: str, kind: str) -> None:
    code, said = programs.run(tmp_path, "serve", **NO_SERVERS | {name: "ture"})
    assert (code, said) == (2, f"{name} must be {kind}.\n")


def test_processes_end_also_if_their_reaper_was_killed(tmp_path: Path) -> None:
    before = psutil.Process().children()
    reaper = Reaper()
    (own,) = set(psutil.Process().children()) - set(before)
    command = ["sh", "-c", "sleep 100 & wait"]
    process = Process("sleeper", command, log=tmp_path / "sleeper.log", reaper=reaper, environment=os.environ)
    process.start()
    own.kill()
    reaper.end_all(lambda: process.exit_code)
    assert process.exit_code == -signal.SIGTERM
