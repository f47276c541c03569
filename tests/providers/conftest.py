"""The providers' side of the wire, over real sockets: the sandbox, or one answer that a test chooses."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server
from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

import httpx
import pytest

from providers.sandbox.routes import Sandbox
from providers.sandbox.settings import Settings


@dataclass(frozen=True)
class Site:
    """The sandbox, and where it answers."""

    url: str
    sandbox: Sandbox
    client: httpx.Client


@dataclass
class Provider:
    """Answers every request with `reply`, and keeps what it was asked."""

    url: str = ""
    reply: tuple[int, list[tuple[str, str]], bytes] = (200, [], b"")
    asked: dict[str, Any] = field(default_factory=dict)
    headers: WSGIEnvironment = field(default_factory=dict)

    def answers(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.reply = (status, list((headers or {}).items()), content)

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        self.headers = environ
        self.asked = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
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
def sandbox_site(settings: Settings) -> Iterator[Site]:
    sandbox = Sandbox(settings)
    with served(sandbox) as url, httpx.Client(base_url=url) as client:
        yield Site(url, sandbox, client)


@pytest.fixture(scope="session")
def standing_sandbox() -> Iterator[Site]:
    with sandbox_site(Settings(calls=1_000_000, latency=0)) as site:
        yield site


@pytest.fixture
def site(standing_sandbox: Site) -> Site:
    """The sandbox in a hurry: no thinking time, and a limit that no test reaches."""
    standing_sandbox.sandbox.reset()
    return standing_sandbox


@pytest.fixture
def provider() -> Iterator[Provider]:
    provider = Provider()
    with served(provider) as url:
        provider.url = url
        yield provider
