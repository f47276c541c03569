"""Throttles guessing of operators' passwords, by name and by address, before a password is hashed.

A name that is guessed at is not locked for its owner: an address from which it signed in lately has tries of its own. Without
Redis nobody signs in, while sessions go on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import wraps
from hashlib import sha256
from ipaddress import ip_address
from typing import Any

import redis
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from rest_framework.exceptions import APIException

from accounts import rate_limits, redis_client
from accounts.rate_limits import Bucket
from accounts.refusals import TooManyRequests, Unavailable

SECONDS = 300
MOST_FOR_A_NAME, MOST_FROM_AN_ADDRESS = 5, 20
KNOWN_SECONDS = 30 * 86_400
# Each holds a thread while its password is hashed.
MOST_AT_ONCE = 4
SIGNED_IN = redis_client.keys("signed_in:")
BUSY = "Too many are signing in at the moment; try again in a few seconds."

View = Callable[..., HttpResponse]
_at_once = threading.BoundedSemaphore(MOST_AT_ONCE)


def throttled(view: View) -> View:
    """A view whose POST checks a password: `username`, or the one who is signed in. A redirect says that it was right."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method != "POST":
            return view(request, *args, **kwargs)
        name = request.user.get_username() or request.POST.get("username", "")
        try:
            return _checked(view, request, _Try(name, address_of(request)), *args, **kwargs)
        except (TooManyRequests, Unavailable) as refusal:
            return _refused(refusal)

    return guarded


class _Try:
    """One password for a name, from an address. Names go into Redis as digests: people type passwords there."""

    def __init__(self, name: str, address: str) -> None:
        self._name = sha256(name.strip().lower().encode()).hexdigest()[:32]
        self._address = address

    @property
    def _known(self) -> str:
        return f"{SIGNED_IN}{self._name}:{self._address}"

    def count(self) -> None:
        """Raises `TooManyRequests` or `Unavailable`."""
        rate_limits.closed([self._of_name(), self._of_address()])

    def succeeded(self) -> None:
        client = redis_client.of(settings.REDIS_URL)
        try:
            rate_limits.forget(client, self._of_name(), self._of_address())
            client.set(self._known, 1, ex=KNOWN_SECONDS)
        except redis.RedisError:
            return

    def _of_name(self) -> Bucket:
        try:
            is_known = redis_client.of(settings.REDIS_URL).exists(self._known)
        except redis.RedisError:
            raise Unavailable(rate_limits.NOT_COUNTED) from None
        key = f"log_ins:{self._name}" + (f":{self._address}" if is_known else "")
        rule = f"A name may be tried {MOST_FOR_A_NAME} times in {SECONDS // 60} minutes."
        return Bucket(key=key, most=MOST_FOR_A_NAME, seconds=SECONDS, rule=rule)

    def _of_address(self) -> Bucket:
        rule = f"From one address {MOST_FROM_AN_ADDRESS} passwords may be tried in {SECONDS // 60} minutes."
        return Bucket(key=f"log_ins_from:{self._address}", most=MOST_FROM_AN_ADDRESS, seconds=SECONDS, rule=rule)


def address_of(request: HttpRequest) -> str:
    """Who connected; behind one of our proxies, who connected to it: the last that `X-Forwarded-For` names."""
    address = str(request.META.get("REMOTE_ADDR", ""))
    told = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip()
    try:
        if any(ip_address(address) in network for network in settings.PROXIES):
            return str(ip_address(told))
    except ValueError:  # a socket without an address, or a proxy that says nothing of use
        pass
    return address


def _checked(view: View, request: HttpRequest, one: _Try, *args: Any, **kwargs: Any) -> HttpResponse:
    if not _at_once.acquire(blocking=False):
        raise Unavailable(BUSY)
    try:
        one.count()
        answer = view(request, *args, **kwargs)
    finally:
        _at_once.release()
    if answer.status_code == 302:
        one.succeeded()
    return answer


def _refused(refusal: APIException) -> HttpResponse:
    headers = {"Retry-After": str(getattr(refusal, "wait", 5))}
    return HttpResponse(str(refusal.detail), status=refusal.status_code, content_type="text/plain", headers=headers)
