"""Receives webhooks as a tenant's own program does, and verifies their signatures."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, Queue
from threading import Thread

from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from config.demo.api_client import Json
from config.launcher.errors import LaunchError
from config.launcher.ports import HOST

LONGEST_SECONDS = 20.0


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """Holds a delivery whose signature is good."""

    event: Json
    bytes: int
    at: datetime


class Receiver(ThreadingHTTPServer):
    """Serves on a free port. `secret` is the secret of its endpoint, as the API showed it."""

    daemon_threads = True
    secret: str

    def __init__(self) -> None:
        super().__init__((HOST, 0), Handler)
        self.arrived: Queue[Arrival] = Queue()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.server_port}/"

    def next(self) -> Arrival:
        """Returns the next delivery. Raises `LaunchError` if none arrives."""
        try:
            return self.arrived.get(timeout=LONGEST_SECONDS)
        except Empty:
            raise LaunchError(f"No webhook has come within {LONGEST_SECONDS:g} s of the search's end.") from None


class Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        try:
            event = Webhook(self.server.secret).verify(body, dict(self.headers.items()))
        except WebhookVerificationError:
            self.send_response(400)
        else:
            self.server.arrived.put(Arrival(event=event, bytes=len(body), at=datetime.now(UTC)))
            self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Logs nothing, because the demo prints what matters."""


@contextmanager
def listening() -> Iterator[Receiver]:
    with Receiver() as receiver:
        Thread(target=receiver.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield receiver
        finally:
            receiver.shutdown()
