"""Remembers what this process learned about callers' keys lately, so that a request has an owner before its key is checked.

The secrets themselves are not kept in memory.
"""

from __future__ import annotations

import hashlib
import threading
import time
from dataclasses import dataclass
from typing import Any

from rest_framework.exceptions import ErrorDetail

from accounts.authentication import CALLER, VOID_KEY, VoidKey
from accounts.net.client_address import address_in

# The most keys that are remembered; the oldest ones are forgotten.
MOST_KEYS = 10_000
# The refusal of a void key is repeated for so long.
REPEATED_SECONDS = 1.0


@dataclass(frozen=True)
class Stranger:
    """A caller without a known key: its address."""

    address: str


class KnownCallers:
    """The tenants of the keys that were accepted lately, by the keys' digests."""

    def __init__(self) -> None:
        self._tenants: dict[bytes, str] = {}
        # No dictionary may change while another thread looks for its oldest key.
        self._lock = threading.Lock()

    def of(self, environ: dict[str, Any]) -> str | Stranger:
        """Returns the tenant's id, or the address where the key is unknown."""
        return self._tenants.get(_digest(environ)) or Stranger(address_in(environ))

    def learn(self, environ: dict[str, Any]) -> None:
        """Notes whose key it was, or that it was nobody's."""
        digest, tenant = _digest(environ), environ.get(CALLER)
        with self._lock:
            if tenant is None:
                self._tenants.pop(digest, None)
            elif self._tenants.get(digest) != tenant:
                self._tenants[digest] = tenant
                _forget_oldest(self._tenants)


class VoidKeys:
    """The refusals of void keys a moment ago, by key and path: some paths are open, whatever the key."""

    def __init__(self) -> None:
        self._refusals: dict[tuple[bytes, str], tuple[float, ErrorDetail]] = {}
        self._lock = threading.Lock()

    def refusal(self, environ: dict[str, Any]) -> VoidKey | None:
        """Returns the refusal to repeat, which costs no query; None without one."""
        until, detail = self._refusals.get(_question(environ), (0.0, None))
        return VoidKey(detail, detail.code) if detail is not None and time.monotonic() < until else None

    def learn(self, environ: dict[str, Any]) -> None:
        """Notes that this request was refused because of its key."""
        if (detail := environ.get(VOID_KEY)) is not None:
            with self._lock:
                self._refusals.pop(_question(environ), None)
                self._refusals[_question(environ)] = time.monotonic() + REPEATED_SECONDS, detail
                _forget_oldest(self._refusals)


def _forget_oldest(remembered: dict[Any, Any]) -> None:
    if len(remembered) > MOST_KEYS:
        del remembered[next(iter(remembered))]


def _question(environ: dict[str, Any]) -> tuple[bytes, str]:
    return _digest(environ), environ["PATH_INFO"]


def _digest(environ: dict[str, Any]) -> bytes:
    return hashlib.blake2b(environ.get("HTTP_AUTHORIZATION", "").encode(), digest_size=16).digest()
