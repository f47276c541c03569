"""Throttles guessing of operators' passwords, by name and by address, before a password is hashed.

A name that is guessed at is not locked for its owner: an address from which it signed in lately has tries of its own. A password
counts as right where Django signed somebody in or renewed the session, whatever the answer is. Without Redis nobody signs in,
while sessions go on.

Rejected: django-axes, which counts a failure after the password is hashed, and locks a name for its owner too.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from hashlib import sha256
from typing import Any

import redis
from django.conf import settings
from django.contrib.auth import HASH_SESSION_KEY
from django.contrib.auth.forms import UsernameField
from django.contrib.auth.models import AbstractUser
from django.http import HttpRequest, HttpResponse

from accounts import redis_client
from accounts.net.client_address import address_of
from accounts.net.networks import network_of
from accounts.web import rate_limits
from accounts.web.bulkhead import Bulkhead, Busy
from accounts.web.exceptions import ServiceUnavailable, TooManyRequests
from accounts.web.rate_limits import Bucket

SECONDS = 300
MOST_FOR_A_NAME, MOST_FROM_AN_ADDRESS = 5, 20
KNOWN_SECONDS = 30 * 86_400
# Log-ins at once in a process. Each holds a thread while its password is hashed.
MOST_AT_ONCE = 4
SIGNED_IN = redis_client.keys("signed_in:")
BUSY = "Too many are signing in at the moment; try again in a few seconds."

View = Callable[..., HttpResponse]
slots = Bulkhead(lambda: MOST_AT_ONCE, BUSY)
_field = UsernameField(max_length=AbstractUser._meta.get_field("username").max_length)


def signing_in(view: View) -> View:
    """Throttles a view that signs a user in by `username` and password, even if somebody is signed in already."""
    # Only Django's `login` replaces the visitor by a user here.
    return _throttled(view, lambda request: request.POST.get("username", ""), lambda request: request.user)


def changing_password(view: View) -> View:
    """Throttles a view to which operators post their own password. The view must be closed to strangers."""
    return _throttled(
        view, lambda request: request.user.get_username(), lambda request: request.session.get(HASH_SESSION_KEY)
    )


def _throttled(view: View, name_in: Callable[[HttpRequest], str], mark_in: Callable[[HttpRequest], object]) -> View:
    """Returns a throttled view. `mark_in`: returns the object that Django replaces in the request for a right password."""

    @wraps(view)
    def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if request.method != "POST":
            return view(request, *args, **kwargs)
        one = _Try(name_in(request), network_of(address_of(request)))
        try:
            with slots.acquire(one.address):
                one.count()
                before = mark_in(request)
                answer = view(request, *args, **kwargs)
        except (TooManyRequests, ServiceUnavailable) as error:
            return _as_page(error)
        except Busy as busy:
            return _as_page(ServiceUnavailable(busy.detail))
        if mark_in(request) is not before:
            one.succeeded()
        return answer

    return guarded


class _Try:
    """A password that is tried for a name, from an address. Redis has digests of names, because people type passwords there."""

    def __init__(self, name: str, address: str) -> None:
        self._name = sha256(as_looked_up(name).encode(errors="backslashreplace")).hexdigest()[:32]
        self.address = address

    @property
    def _known(self) -> str:
        return f"{SIGNED_IN}{self._name}:{self.address}"

    def count(self) -> None:
        """Raises `TooManyRequests` or `ServiceUnavailable`."""
        rate_limits.closed([self._of_name(), self._of_address()])

    def succeeded(self) -> None:
        """Forgets earlier tries of the name. Tries from the address stay counted: they may have been at other names."""
        client = redis_client.of(settings.REDIS_URL)
        with suppress(redis.RedisError):
            rate_limits.forget(client, self._of_name())
            client.set(self._known, 1, ex=KNOWN_SECONDS)

    def _of_name(self) -> Bucket:
        try:
            is_known = redis_client.of(settings.REDIS_URL).exists(self._known)
        except redis.RedisError:
            raise ServiceUnavailable(rate_limits.NOT_COUNTED) from None
        key = f"log_ins:{self._name}" + (f":{self.address}" if is_known else "")
        rule = f"A name may be tried {MOST_FOR_A_NAME} times in {SECONDS // 60} minutes."
        return Bucket(key=key, most=MOST_FOR_A_NAME, seconds=SECONDS, rule=rule)

    def _of_address(self) -> Bucket:
        rule = f"From one address {MOST_FROM_AN_ADDRESS} passwords may be tried in {SECONDS // 60} minutes."
        return Bucket(key=f"log_ins_from:{self.address}", most=MOST_FROM_AN_ADDRESS, seconds=SECONDS, rule=rule)


def as_looked_up(name: str) -> str:
    """Returns a name as the log-in form reads it, which is without spaces around it and in Unicode's form NFKC.

    Capitals are put aside too: names that differ in nothing else belong to one person.
    """
    return str(_field.to_python(name)).casefold()


def _as_page(error: TooManyRequests | ServiceUnavailable) -> HttpResponse:
    headers = {"Retry-After": str(error.wait)}
    return HttpResponse(str(error.detail), status=error.status_code, content_type="text/plain", headers=headers)
