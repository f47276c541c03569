"""What Modash answers for nothing: a key's account, and the dictionaries that a search's parameters come from.

`GET /user/info` and the forms of the dictionaries are inferred from its other endpoints: what is missing is passed over,
and only an answer that holds nothing of what was asked for is taken for none. Languages are filtered here, for their
address takes no query. Where the brands are is not public: a setting says it, and without it there are none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
from django.conf import settings

from providers.adapters import modash, reading
from providers.adapters.failures import failure
from providers.adapters.reading import Fields, Unreadable
from providers.contract import FreeCalls, ProviderAccount, Secret, Term

if TYPE_CHECKING:
    from providers.http import ProviderClient, Reply
    from providers.limiter import Token

# The most terms of one query: what matches more should be asked for more closely.
MOST_TERMS = 100
# What a plan says of its limits is kept and shown: a few lines, not a book.
MOST_CHARACTERS = 4000
# Which field is what a search's parameter takes.
VALUES = {"locations": "id", "languages": "code", "brands": "name", "users": "username"}


class ModashAccount(FreeCalls):
    provider = "modash"

    def account(self, *, secret: Secret, base_url: str, client: ProviderClient, token: Token) -> ProviderAccount:
        request = _request("/user/info", {}, secret, base_url)
        reply = client.send(request, token=token)
        try:
            return _account(_body(reply, secret), secret)
        except Unreadable as problem:
            raise failure(modash.KINDS.unreadable(str(problem)), reply, secret) from None

    def dictionaries(self) -> tuple[str, ...]:
        return tuple(_paths())

    def dictionary(
        self, name: str, query: str, *, secret: Secret, base_url: str, client: ProviderClient, token: Token
    ) -> tuple[Term, ...]:
        request = _request(_paths()[name], _asking_for(name, query), secret, base_url)
        reply = client.send(request, token=token)
        body = _body(reply, secret)
        if modash.says_nothing_more(reply, body):
            return ()
        try:
            terms = _terms(name, _listed(name, body))
        except Unreadable as problem:
            raise failure(modash.KINDS.unreadable(str(problem)), reply, secret) from None
        return tuple(term for term in terms if name != "languages" or _matches(term, query))[:MOST_TERMS]


def _paths() -> dict[str, str]:
    paths = {
        "locations": "/tiktok/locations",
        "languages": "/tiktok/languages",
        "users": "/tiktok/users",
        "brands": settings.MODASH_BRANDS_PATH,
    }
    return {name: path for name, path in paths.items() if path}


def _asking_for(name: str, query: str) -> dict[str, str]:
    if name == "languages":
        return {}
    return {**({"query": query} if query else {}), "limit": str(MOST_TERMS)}


def _request(path: str, query: Mapping[str, str], secret: Secret, base_url: str) -> httpx.Request:
    return httpx.Request(
        "GET",
        f"{base_url.rstrip('/')}/{path.lstrip('/')}",
        params=query or None,
        headers={"Authorization": f"Bearer {secret.value}", "Accept": "application/json"},
    )


def _body(reply: Reply, secret: Secret) -> dict[str, Any]:
    """Raises the failure that the answer tells of."""
    body = reading.parse(reply.content, reply.headers.get("Content-Type", ""))
    answer: dict[str, Any] = body if isinstance(body, dict) else {}
    if modash.says_nothing_more(reply, answer):
        return answer
    if modash.says_it_failed(reply, answer, brought=False):
        request_id = reading.request_id(reply.headers.get("x-request-id"), secret.value)
        raise modash.failure_of(reply, answer, secret, request_id)
    return answer


def _account(body: Mapping[str, Any], secret: Secret) -> ProviderAccount:
    if not any(isinstance(body.get(name), dict) for name in ("user", "billing")):
        raise Unreadable("neither user nor billing is in it")
    told = Fields(body)
    billing = told.object("billing")
    credits = billing.number("credits")
    limits = {
        "rateLimits": told.object("rateLimits").value or None,
        "rawRequests": billing.number("rawRequests"),
    }
    return ProviderAccount(
        credits=None if credits is None else Decimal(str(credits)),
        limits=_shown({name: value for name, value in limits.items() if value is not None}, secret),
    )


def _shown(limits: dict[str, Any], secret: Secret) -> dict[str, Any]:
    """Nothing of a provider's that could be a key of ours, or that goes on for ever."""
    text = json.dumps(limits)
    return {} if len(text) > MOST_CHARACTERS or reading.quotes(text, secret.value) else limits


def _listed(name: str, body: Mapping[str, Any]) -> list[Any]:
    listed = body.get(name)
    if not isinstance(listed, list):
        raise Unreadable(f"{name} is not a list")
    return listed


def _terms(name: str, listed: list[Any]) -> list[Term]:
    """A line that does not say what a parameter takes is passed over; where none does, they are of another form."""
    terms = [term for term in (_term(name, each) for each in listed) if term is not None]
    if listed and not terms:
        raise Unreadable(f"{name} has no line with its {VALUES[name]}")
    return terms


def _term(name: str, given: Any) -> Term | None:
    """Of a brand nothing is documented: it may be its bare name."""
    if isinstance(given, str):
        given = {VALUES[name]: given}
    fields = Fields(given if isinstance(given, dict) else {})
    shown = fields.identity(VALUES[name])
    if shown is None:
        return None
    if name == "users":
        return Term(value=shown, name=fields.text("fullname") or shown, title=_of_user(fields))
    value = fields.value[VALUES[name]]
    return Term(value=value, name=fields.text("name") or shown, title=fields.text("title") or "")


def _of_user(user: Fields) -> str:
    followers = user.count("followers")
    told = "" if followers is None else f"{followers:,} followers"
    return ", ".join(filter(None, (told, "verified" if user.value.get("isVerified") is True else "")))


def _matches(term: Term, query: str) -> bool:
    wanted = query.casefold()
    return wanted in term.name.casefold() or str(term.value).casefold().startswith(wanted)
