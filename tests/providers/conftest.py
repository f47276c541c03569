"""Plays the providers over real sockets: by the sandbox, or with one answer that a test chooses."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import httpx
import pytest
from django.conf import settings

from accounts.net import transport
from config.launcher import ports
from providers import http
from providers.sandbox.routes import Sandbox
from providers.sandbox.settings import SandboxSettings
from tests import programs


@dataclass(frozen=True)
class Site:
    """A running sandbox, its address, and a client for it."""

    url: str
    sandbox: Sandbox
    client: httpx.Client


@dataclass
class Provider:
    """Answers every request with `reply`, and keeps the last request."""

    url: str = ""
    reply: tuple[int, list[tuple[str, str]], bytes] = (200, [], b"")
    body: bytes = b""
    asked: dict[str, Any] = field(default_factory=dict)
    headers: WSGIEnvironment = field(default_factory=dict)

    def answers(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.reply = (status, list((headers or {}).items()), content)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.headers = environ
        self.body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"] or 0))
        self.asked = json.loads(self.body) if environ["CONTENT_TYPE"] == "application/json" else {}
        status, headers, content = self.reply
        start_response(f"{status} Said", [*headers, ("Content-Length", str(len(content)))])
        return [content]


class Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class Quiet(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def served(application: WSGIApplication) -> Iterator[str]:
    with make_server("127.0.0.1", 0, application, server_class=Server, handler_class=Quiet) as server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def sandbox_site(settings: SandboxSettings) -> Iterator[Site]:
    sandbox = Sandbox(settings)
    # No time limit: a search takes 25 ms of the processor, and this process may wait for one.
    with served(sandbox) as url, httpx.Client(base_url=url, timeout=None) as client:
        yield Site(url, sandbox, client)


@pytest.fixture
def fresh_connections() -> Iterator[None]:
    """Closes the connections that other tests left open, and forgets the certificates that they trusted."""
    forget_connections()
    yield
    forget_connections()


def forget_connections() -> None:
    http.shared_connections().close()
    http.shared_connections.cache_clear()
    transport.tls_context.cache_clear()


@pytest.fixture(scope="session")
def shared_sandbox() -> Iterator[Site]:
    with sandbox_site(SandboxSettings(calls=1_000_000, latency=0)) as site:
        yield site


@pytest.fixture
def site(shared_sandbox: Site) -> Site:
    """Returns a sandbox that answers at once, with a limit that no test reaches."""
    shared_sandbox.sandbox.reset()
    return shared_sandbox


@contextmanager
def granian_sandbox(**values: int) -> Iterator[str]:
    """Serves the sandbox in a process of its own, as users get it. The settings are named as in `window_ms=1000`.

    It is killed, not asked to end: with half a request granian waits for the other half.
    """
    port = str(ports.chosen("SANDBOX_PORT", 0))
    options = ("--interface", "wsgi", "--http", "1", "--no-ws", "--blocking-threads", "32", "--log-level", "critical")
    command = [sys.executable, "-m", "granian", *options, "--port", port, "config.sandbox_wsgi:application"]
    environment = {f"SANDBOX_{name.upper()}": str(value) for name, value in values.items()}
    with programs.running(command, cwd=settings.BASE_DIR, env=os.environ | environment) as server:
        yield _answering(f"http://127.0.0.1:{port}", server)


def _answering(url: str, server: subprocess.Popen[bytes]) -> str:
    """Returns the address when the server answers there. A start is mostly imports: on a busy machine it takes as long as it
    takes, and fails only where the server ends.
    """
    while server.poll() is None:
        with suppress(httpx.TransportError):
            assert httpx.get(f"{url}/_stats").is_success
            return url
        time.sleep(0.05)
    raise AssertionError(f"the sandbox ended with {server.returncode}, and never answered")


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    with served(provider) as url:
        provider.url = url
        yield provider
