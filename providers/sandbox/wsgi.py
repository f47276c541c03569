"""Wraps the part of WSGI that the sandbox needs in a request and a response."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.util import application_uri

LARGEST_BODY = 24 * 1024 * 1024


@dataclass
class Request:
    """A request whose head has arrived. `arrived`: when, in seconds of the monotonic clock. The body may still be on its way."""

    environ: WSGIEnvironment = field(repr=False)
    arrived: float
    public_url: str = ""
    _body: bytes | None = field(default=None, repr=False)

    @property
    def method(self) -> str:
        return str(self.environ["REQUEST_METHOD"])

    @property
    def path(self) -> str:
        return str(self.environ.get("PATH_INFO", "/"))

    @property
    def content_type(self) -> str:
        return str(self.environ.get("CONTENT_TYPE", ""))

    @property
    def authorization(self) -> str:
        return str(self.environ.get("HTTP_AUTHORIZATION", ""))

    @property
    def bearer(self) -> str | None:
        scheme, _, token = self.authorization.partition(" ")
        return token.strip() or None if scheme.lower() == "bearer" else None

    @property
    def origin(self) -> str:
        """Returns the address under which pictures open: `public_url` if it is set, else the one that the caller used."""
        return (self.public_url or application_uri(self.environ)).rstrip("/")

    @property
    def body(self) -> bytes:
        # A cached_property of Python 3.11 has one lock for all instances: one slow body would block all other requests.
        if self._body is None:
            length = int(self.environ.get("CONTENT_LENGTH") or 0)
            self._body = self.environ["wsgi.input"].read(min(length, LARGEST_BODY)) if length else b""
        return self._body


@dataclass(frozen=True)
class Response:
    """A response. `sent_bytes`: so many bytes are sent before the connection ends. None: all, and the connection stays open."""

    status: int
    content: bytes = field(repr=False)
    media_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    sent_bytes: int | None = None

    @classmethod
    def of(cls, value: Any, status: int = 200) -> Response:
        return cls(status, json.dumps(value).encode())

    def send(self, start_response: StartResponse) -> Iterable[bytes]:
        line = f"{self.status} {HTTPStatus(self.status).phrase}"
        length = str(len(self.content))
        start_response(line, [("Content-Type", self.media_type), ("Content-Length", length), *self.headers])
        if self.sent_bytes is None:
            return [self.content]
        # A server closes the connection when an iterator ends before the promised length. For the rest of a list granian
        # waits for ever.
        return iter([self.content[: self.sent_bytes]] if self.sent_bytes else [])
