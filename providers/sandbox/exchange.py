"""A request and an answer of the sandbox: the little of WSGI that it needs."""

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
    """`arrived`: when its head was here, by the monotonic clock in seconds; its body may still be on the way."""

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
        """The bearer token, if one was sent."""
        scheme, _, token = self.authorization.partition(" ")
        return token.strip() or None if scheme.lower() == "bearer" else None

    @property
    def origin(self) -> str:
        """Where our pictures open: the address that the caller used, if no other is set."""
        return (self.public_url or application_uri(self.environ)).rstrip("/")

    @property
    def body(self) -> bytes:
        # Not a cached_property: in Python 3.11 one slow body would hold that property's lock against all other requests.
        if self._body is None:
            length = int(self.environ.get("CONTENT_LENGTH") or 0)
            self._body = self.environ["wsgi.input"].read(min(length, LARGEST_BODY)) if length else b""
        return self._body


@dataclass(frozen=True)
class Response:
    """`leaving`: how many bytes of the content leave before the connection ends; None: all, and it stays open."""

    status: int
    content: bytes = field(repr=False)
    media_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()
    leaving: int | None = None

    @classmethod
    def of(cls, value: Any, status: int = 200) -> Response:
        return cls(status, json.dumps(value).encode())

    def send(self, start_response: StartResponse) -> Iterable[bytes]:
        line = f"{self.status} {HTTPStatus(self.status).phrase}"
        length = str(len(self.content))
        start_response(line, [("Content-Type", self.media_type), ("Content-Length", length), *self.headers])
        if self.leaving is None:
            return [self.content]
        # A server closes the connection when an iterator ends before the length that was promised; granian waits for ever
        # for the rest of a list.
        return iter([self.content[: self.leaving]] if self.leaving else [])
