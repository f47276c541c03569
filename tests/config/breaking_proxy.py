"""A proxy in front of the API that breaks what a client must survive, each thing once: a lost answer, 502, 503, 429 and 304."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx

RETRY_AFTER = 1
# Headers of a connection, which are not passed on.
OWN = {"host", "connection", "content-length", "transfer-encoding", "content-encoding"}


@dataclass(frozen=True)
class Fault:
    """An answer instead of the API's. Without a status the request is done, and its answer is lost."""

    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)


LOST = Fault()
PAGE = Fault(502, {"Content-Type": "text/html"})
THROTTLED = Fault(429, {"Content-Type": "application/problem+json", "Retry-After": str(RETRY_AFTER)})
NOT_READY = Fault(503, {"Content-Type": "application/problem+json", "Retry-After": str(RETRY_AFTER)})
UNCHANGED = Fault(304)


class Proxy(ThreadingHTTPServer):
    """`faults`: those still to come, of creates and of reads of one search.

    `too_early`: the requests that came before the seconds of `Retry-After` were over. `repeats`: how many requests the API had
    done before. `lost`: the last answer that was lost.
    """

    def __init__(self, api: httpx.Client) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.api = api
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.faults = {"create": [LOST, PAGE, THROTTLED], "read": [UNCHANGED, LOST, NOT_READY]}
        self.allowed_at = 0.0
        self.too_early: list[str] = []
        self.repeats = 0
        self.lost: httpx.Response | None = None

    def fault(self, method: str, path: str) -> Fault | None:
        """Returns the next fault of a request of this kind."""
        if time.monotonic() < self.allowed_at:
            self.too_early.append(path)
        is_read = method == "GET" and path.startswith("/v1/searches/") and path.count("/") == 3
        kind = "create" if (method, path) == ("POST", "/v1/searches") else "read" if is_read else ""
        faults = self.faults.get(kind)
        fault = faults.pop(0) if faults else None
        if fault and "Retry-After" in fault.headers:
            self.allowed_at = time.monotonic() + RETRY_AFTER
        return fault

    def passed(self, request: BaseHTTPRequestHandler, body: bytes) -> httpx.Response:
        """Returns the API's answer; to the repeat of a create the first answer, in which the search has not begun."""
        sent = {name: value for name, value in request.headers.items() if name.lower() not in OWN}
        answer = self.api.request(request.command, request.path, content=body, headers=sent)
        is_repeat = answer.headers.get("Idempotent-Replayed") == "true"
        self.repeats += is_repeat
        return self.lost if is_repeat and self.lost is not None else answer


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.server.fault(self.command, self.path)
        if fault is None:
            answer = self.server.passed(self, body)
            self._answer(answer.status_code, dict(answer.headers), answer.content)
        elif fault.status is None:
            self.server.lost = self.server.passed(self, body)
            self.close_connection = True
        else:
            self._answer(fault.status, fault.headers, b"" if fault.status == 304 else b"{}")

    do_POST = do_GET  # noqa: N815

    def handle(self) -> None:
        with suppress(ConnectionError):  # the client has ended
            super().handle()

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in OWN:
                self.send_header(name, value)
        if status != 304:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def running(target: str) -> Iterator[Proxy]:
    with httpx.Client(base_url=target, timeout=90, trust_env=False) as api, Proxy(api) as proxy:
        serving = threading.Thread(target=proxy.serve_forever)
        serving.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            serving.join()
