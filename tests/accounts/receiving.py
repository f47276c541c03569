"""A tenant's receiver of webhooks, over real sockets: it keeps what it hears, and answers what a test says."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True, kw_only=True)
class Heard:
    """`headers` by their names in lower case; `at` by the monotonic clock."""

    path: str
    headers: Mapping[str, str]
    body: str
    at: float

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int = 204
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


Answering = Callable[[Heard], Answer | int]


class Receiver:
    """`heard`: all requests so far, in the order in which they came."""

    def __init__(self, answering: Answering) -> None:
        self.answering = answering
        self.heard: list[Heard] = []
        self.lock = threading.Lock()
        self.released = threading.Event()
        self.url = ""

    def hang(self, _: Heard) -> Answer:
        """Answers when the receiver ends."""
        self.released.wait(60)
        return Answer()

    def hear(self, heard: Heard) -> Answer:
        with self.lock:
            self.heard.append(heard)
        answer = self.answering(heard)
        return Answer(status=answer) if isinstance(answer, int) else answer


class EveryThird:
    """Refuses every third request."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)

    def __call__(self, _: Heard) -> int:
        return 500 if next(self.numbers) % 3 == 0 else 204


class Server(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """Ignores callers that hang up."""


@contextmanager
def receiver(answering: Answering = lambda _: 204) -> Iterator[Receiver]:
    """Runs a receiver. `receiver.answering` may be replaced meanwhile."""
    listening = Receiver(answering)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = listening.hear(Heard(path=self.path, headers=headers, body=body, at=time.monotonic()))
            # A test may say what the receiver's clock shows.
            (self.send_response_only if "Date" in answer.headers else self.send_response)(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answer.body)))
            self.end_headers()
            self.wfile.write(answer.body)

        def log_message(self, *_: object) -> None:
            """Tests look at what was heard."""

    with Server(("127.0.0.1", 0), Handler) as server:
        listening.url = f"http://127.0.0.1:{server.server_port}/hooks"
        serving = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        serving.start()
        try:
            yield listening
        finally:
            listening.released.set()
            server.shutdown()
            serving.join()
