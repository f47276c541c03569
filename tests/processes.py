"""Runs a whole Sightline for tests that break it: servers, sandbox, web server, workers and beat as processes.

Tests use it from outside alone, as tenants and operators do: by HTTP, SQL, `manage.py` and signals. A test that is killed
leaves nothing running: its servers end with their last user, and the reaper of `serve` ends the rest.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import psycopg
import redis

from config import embedded
from config.embedded import state, supervisor
from config.launcher import ports
from config.launcher.process import MEMORY
from config.launcher.reaper import Reaper
from providers import registry
from tests.searches.samples import jpeg

# The sandbox allows one call in this window; the policy's guard is added to it. On two cores with sixteen busy processes the
# sandbox noted an arrival up to 50 ms late for want of a processor, although the calls had left far enough apart.
WINDOW_MS, GUARD_MS = 50, 70
LATENCY_MS = 300
# An answer that takes longer is lost.
LONGEST_CALL_MS = 3000
WAKE = """
import contextlib, os, signal, sys
sys.stdin.read()
for pid in sys.argv[1:]:
    with contextlib.suppress(ProcessLookupError):
        os.kill(int(pid), signal.SIGCONT)
"""

P = TypeVar("P", bound="Program")


class Server:
    """Controls PostgreSQL or Valkey, the child of a supervisor that restarts it."""

    def __init__(self, folder: Path) -> None:
        self.pid_file = folder / "pid"

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(int(self.pid_file.read_text()))

    @contextmanager
    def away(self) -> Iterator[None]:
        """Kills the server, and keeps it down until the block ends."""
        server = self.process
        supervisor = server.parent()
        assert supervisor is not None
        with suspended(supervisor):
            server.kill()
            yield

    @contextmanager
    def silent(self) -> Iterator[None]:
        """Suspends the server: the kernel keeps connections open, and nothing answers."""
        with suspended(self.process):
            yield


class Postgres(Server):
    """Controls PostgreSQL; `superuser` connects to it in the embedded server's own folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._folder = folder

    def superuser(self) -> psycopg.Connection:
        server = embedded.Postgres(self._folder, state.account())
        return psycopg.connect(
            host=str(server.socket_folder), user="postgres", password=server.password, dbname="app", autocommit=True
        )

    def become_standby(self) -> None:
        """Restarts it as a server that only reads; its clients' connections end."""
        # The supervisor does not restart a server that ends earlier.
        wait_until(lambda: time.time() - self.process.create_time() > supervisor.PROVEN_SECONDS + 1)
        (data,) = self._folder.glob("pgdata-*")
        state.account().own(state.write(data / "standby.signal", ""), 0o600)
        self.process.send_signal(signal.SIGINT)
        wait_until(lambda: self._says("SELECT pg_is_in_recovery()"))

    def promote(self) -> None:
        assert self._says("SELECT pg_promote()")

    @contextmanager
    def only_reading(self) -> Iterator[None]:
        self.become_standby()
        try:
            yield
        finally:
            self.promote()

    def _says(self, question: str) -> bool:
        try:
            with self.superuser() as session:
                answer = session.execute(question.encode()).fetchone()
        except psycopg.OperationalError:
            return False
        return answer is not None and bool(answer[0])


class Program:
    """Controls one of Sightline's processes and its children, a process group: started at once, and again if wanted."""

    def __init__(
        self, name: str, command: Sequence[str], *, log: Path, environment: Mapping[str, str], reaper: Reaper
    ) -> None:
        self.name = name
        self._command = command
        self._log = log
        # The process's sessions in the database have its name, so that a test sees which process waits there.
        database = environment["DATABASE_URL"]
        named = f"{database}{'&' if '?' in database else '?'}application_name={name}"
        self._environment = {**MEMORY, **os.environ, **environment, "DATABASE_URL": named}
        self._reaper = reaper
        self._popen = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as log:
            popen = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=self._environment,
            )
        self._reaper.watch(popen.pid)
        return popen

    @property
    def process(self) -> psutil.Process:
        return psutil.Process(self._popen.pid)

    @property
    def has_ended(self) -> bool:
        return self._popen.poll() is not None

    def kill(self) -> None:
        """Kills the process and its children, which are in its group."""
        self._reaper.forget(self._popen.pid)
        self._popen.wait()

    def start_again(self) -> None:
        self.kill()
        self._popen = self._started()


class Worker(Program):
    """Controls a Celery worker: one process that takes messages, and its children, which do the work."""

    CHILDREN = 4

    @property
    def children(self) -> list[psutil.Process]:
        """Returns the children, without dead ones and those that run for a moment during the start."""
        mine = command_of(self.process)
        return [child for child in self.process.children() if command_of(child) == mine]

    @property
    def is_up(self) -> bool:
        return len(self.children) == self.CHILDREN

    def kill_children(self) -> None:
        for child in self.children:
            child.kill()


class Sightline:
    """Controls all processes. `environment` has the addresses of the servers and all other variables of the processes."""

    def __init__(self, folder: Path, environment: Mapping[str, str], stack: ExitStack) -> None:
        self.folder = folder
        self.environment = environment
        self.postgres, self.valkey = Postgres(folder / "postgresql"), Server(folder / "valkey")
        self.redis = stack.enter_context(redis.Redis.from_url(environment["REDIS_URL"]))
        self.api, self.sandbox = (
            stack.enter_context(httpx.Client(base_url=f"http://127.0.0.1:{environment[port]}", timeout=30))
            for port in ("PORT", "SANDBOX_PORT")
        )
        self.programs: list[Program] = []
        self._reaper = Reaper()
        stack.callback(self._reaper.end_all, lambda: [program.has_ended for program in self.programs])
        self._image = ""

    def start(self) -> None:
        """Starts all processes but the workers for searches."""
        port, sandbox_port = self.environment["PORT"], self.environment["SANDBOX_PORT"]
        judge = self._start(Program, "sandbox", granian("config.sandbox_wsgi:application", sandbox_port, threads=64))
        put_first(judge.process)
        self.manage("migrate")
        self._start(Program, "web", granian("config.wsgi:application", port, threads=640))
        self._start(Program, "sweeps", worker("sweeps", 1))
        self._start(Program, "followers", [*worker("followers", 1), "--pool", "threads"])
        self._start(Program, "beat", celery("beat", "-s", str(self.folder / "beat"), "--pidfile="))

    def let_alice_in(self) -> None:
        """Creates a tenant with a picture and a key to the provider."""
        tenant = json.loads(self.manage("create_tenant", "Alice", "--json"))
        self.manage("store_credential", "Alice", "modash", "--from-env", "KEY", KEY="alices-modash-key")
        self.api.headers["Authorization"] = f"Bearer {tenant['api_keys']['live']}"
        wait_until(lambda: answers(self.sandbox, "/_stats") and answers(self.api, "/v1/sources"))
        self.rows(
            "UPDATE providers_policy SET calls = 1, window_ms = %s, guard_ms = %s, total_timeout_ms = %s",
            *(WINDOW_MS, GUARD_MS, LONGEST_CALL_MS),
        )
        self._image = self.api.post("/v1/images", files={"image": ("mug.jpg", jpeg(), "image/jpeg")}).json()["id"]

    def start_worker(self, name: str, **environment: str) -> Worker:
        return self._start(Worker, name, worker("searches", Worker.CHILDREN, name), **environment)

    def start_dispatcher(self, name: str = "webhooks") -> Program:
        """Starts the worker that delivers webhooks."""
        return self._start(Program, name, [*worker("webhooks", 1, name), "--pool", "threads"])

    def manage(self, *arguments: str, **environment: str) -> str:
        done = subprocess.run(
            [sys.executable, "manage.py", *arguments],
            env=os.environ | self.environment | environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """Returns the rows of one statement; waits for a database that is being restarted."""
        deadline = time.monotonic() + 20
        while True:
            try:
                with self.session() as session:
                    cursor = session.execute(statement.encode(), values)
                    return cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, "the database did not come back"
                time.sleep(0.1)

    def session(self) -> psycopg.Connection:
        return psycopg.connect(self.environment["DATABASE_URL"])

    def submit(self, *, lookups: int, max_age: int = 0) -> str:
        """Submits a search. By default it is no repeat, however equal it is."""
        wanted = [{"source": "tiktok-creators", "limit": 2}] * lookups
        order = {"image": {"id": self._image}, "lookups": wanted, "max_age": max_age}
        answer = self.api.post("/v1/searches", json=order)
        assert answer.status_code == 202, answer.text
        id: str = answer.json()["id"]
        return id

    def stats(self) -> dict[str, Any]:
        """Returns the sandbox's counts."""
        stats: dict[str, Any] = self.sandbox.get("/_stats").json()["modash"]
        return stats

    def _start(self, kind: type[P], name: str, command: Sequence[str], **environment: str) -> P:
        told = {**self.environment, **environment}
        program = kind(name, command, log=self.folder / f"{name}.log", environment=told, reaper=self._reaper)
        self.programs.append(program)
        return program


@contextmanager
def sightline(folder: Path, **told: str) -> Iterator[Sightline]:
    """Yields a Sightline with Alice in it. `told` is added to the environment of all its processes."""
    limit = {"SANDBOX_WINDOW_MS": str(WINDOW_MS), "SANDBOX_LATENCY_MS": str(LATENCY_MS)}
    with started(folder, **limit, **told) as running:
        running.let_alice_in()
        yield running


@contextmanager
def started(folder: Path, **told: str) -> Iterator[Sightline]:
    """Yields a Sightline without tenants. `told` is added to the environment of all its processes."""
    port, sandbox_port = (str(ports.chosen(name, 0)) for name in ("PORT", "SANDBOX_PORT"))
    sandbox = f"http://127.0.0.1:{sandbox_port}"
    environment = {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "STATE_DIR": str(folder),
        "STORAGE_DIR": str(folder / "pictures"),
        "PORT": port,
        "SANDBOX_PORT": sandbox_port,
        **{adapter.base_url_setting: sandbox + adapter.sandbox_path for adapter in registry.PROVIDERS.values()},
        **told,
    }
    with embedded.services(environment), ExitStack() as stack:
        running = Sightline(folder, environment, stack)
        running.start()
        yield running


@contextmanager
def suspended(*processes: psutil.Process) -> Iterator[None]:
    """Suspends processes until the block ends or the test is killed. A process of its own resumes them when our end of its
    pipe closes.
    """
    pids = [str(process.pid) for process in processes]
    waker = subprocess.Popen([sys.executable, "-I", "-S", "-c", WAKE, *pids], stdin=subprocess.PIPE)
    try:
        for process in processes:
            process.suspend()
        yield
    finally:
        waker.communicate()


def put_first(process: psutil.Process) -> None:
    """Gives the process that judges calls by milliseconds a higher priority, if the test may: on a busy machine the sandbox
    notes arrivals up to 50 ms late.
    """
    with suppress(AttributeError, PermissionError):  # other platforms and ordinary users may not
        os.sched_setscheduler(process.pid, os.SCHED_RR, os.sched_param(1))


def command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def granian(application: str, port: str, *, threads: int) -> list[str]:
    options = ("--interface", "wsgi", "--http", "1", "--no-ws", "--port", port, "--blocking-threads", str(threads))
    many = ("--backlog", "4096", "--backpressure", "2048")
    return [sys.executable, "-m", "granian", *options, *many, application]


def worker(queue: str, processes: int, name: str = "") -> list[str]:
    quiet = ("--without-gossip", "--without-mingle")
    return celery("worker", "-Q", queue, "-c", str(processes), "-n", f"{name or queue}@%h", *quiet)


def celery(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "celery", "-A", "config", *arguments]


def answers(client: httpx.Client, path: str) -> bool:
    try:
        return client.get(path).is_success
    except httpx.TransportError:
        return False


def wait_until(happened: Callable[[], bool], *, seconds: float = 60, pause: float = 0.05) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(pause)
