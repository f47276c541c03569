"""Makes Modash's free calls: a key's account, and the dictionaries that a search's parameters come from.

The answers of `GET /user/info` and of the dictionaries are inferred from other endpoints. Missing fields are therefore
skipped, and an answer is unreadable only if it has nothing of what was asked for. Languages are filtered here, because their
address takes no query. The address of the brands is not public: a setting gives it, and without the setting there is no such
dictionary.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import httpx
from django.conf import settings

from providers.adapters import modash, redaction
from providers.adapters.fields import Fields
from providers.adapters.replies import ParsedReply, UnreadableAnswer
from providers.contract import FreeCalls, ProviderAccount, Secret, Term

if TYPE_CHECKING:
    from providers.http import ProviderClient
    from providers.limiter import Token

# The most terms of one answer. A query that matches more should be narrowed.
MOST_TERMS = 100
# The longest text of a plan's limits that is kept and shown, as JSON.
MOST_CHARACTERS = 4000
# The field of each dictionary that a search's parameter takes.
VALUES = {"locations": "id", "languages": "code", "brands": "name", "users": "username"}


class ModashAccount(FreeCalls):
    provider = "modash"

    def account(self, *, secret: Secret, base_url: str, client: ProviderClient, token: Token) -> ProviderAccount:
        request = _request("/user/info", {}, secret, base_url)
        reply = ParsedReply.of(client.send(request, token=token), secret)
        _raise_failure(reply)
        try:
            return _account(reply.envelope, secret)
        except UnreadableAnswer as problem:
            raise reply.failure(modash.KINDS.unreadable(str(problem))) from None

    def dictionaries(self) -> tuple[str, ...]:
        return tuple(_paths())

    def dictionary(
        self, name: str, query: str, *, secret: Secret, base_url: str, client: ProviderClient, token: Token
    ) -> tuple[Term, ...]:
        request = _request(_paths()[name], _query(name, query), secret, base_url)
        reply = ParsedReply.of(client.send(request, token=token), secret)
        _raise_failure(reply)
        if modash.has_nothing_more(reply):
            return ()
        try:
            terms = _terms(name, _listed(name, reply.envelope))
        except UnreadableAnswer as problem:
            raise reply.failure(modash.KINDS.unreadable(str(problem))) from None
        return tuple(term for term in terms if name != "languages" or _matches(term, query))[:MOST_TERMS]


def _paths() -> dict[str, str]:
    paths = {
        "locations": "/tiktok/locations",
        "languages": "/tiktok/languages",
        "users": "/tiktok/users",
        "brands": settings.MODASH_BRANDS_PATH,
    }
    return {name: path for name, path in paths.items() if path}


def _query(name: str, query: str) -> dict[str, str]:
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


def _raise_failure(reply: ParsedReply) -> None:
    """Raises the failure that a reply reports."""
    if modash.is_failure(reply, has_results=False) and not modash.has_nothing_more(reply):
        raise modash.failure_of(reply)


def _account(body: Mapping[str, Any], secret: Secret) -> ProviderAccount:
    if not any(isinstance(body.get(name), dict) for name in ("user", "billing")):
        raise UnreadableAnswer("neither user nor billing is in it")
    fields = Fields(body)
    billing = fields.object("billing")
    credits = billing.number("credits")
    limits = {
        "rateLimits": fields.object("rateLimits").value or None,
        "rawRequests": billing.number("rawRequests"),
    }
    return ProviderAccount(
        credits=None if credits is None else Decimal(str(credits)),
        limits=_shown({name: value for name, value in limits.items() if value is not None}, secret),
    )


def _shown(limits: dict[str, Any], secret: Secret) -> dict[str, Any]:
    """Returns the limits; nothing if they quote the key or are too long."""
    text = json.dumps(limits)
    return {} if len(text) > MOST_CHARACTERS or redaction.quotes(text, secret.value) else limits


def _listed(name: str, body: Mapping[str, Any]) -> list[Any]:
    listed = body.get(name)
    if not isinstance(listed, list):
        raise UnreadableAnswer(f"{name} is not a list")
    return listed


def _terms(name: str, listed: list[Any]) -> list[Term]:
    """Reads the lines. A line without the parameter's value is skipped; if all lines lack it, the answer is unreadable."""
    terms = [term for term in (_term(name, each) for each in listed) if term is not None]
    if listed and not terms:
        raise UnreadableAnswer(f"{name} has no line with its {VALUES[name]}")
    return terms


def _term(name: str, given: Any) -> Term | None:
    """Reads a line. The form of a brand is not documented: it may be a mere name."""
    if isinstance(given, str):
        given = {VALUES[name]: given}
    fields = Fields(given if isinstance(given, dict) else {})
    shown = fields.identity(VALUES[name])
    if shown is None:
        return None
    if name == "users":
        return Term(value=shown, name=fields.text("fullname") or shown, title=_user_title(fields))
    value = fields.value[VALUES[name]]
    return Term(value=value, name=fields.text("name") or shown, title=fields.text("title") or "")


def _user_title(user: Fields) -> str:
    followers = user.count("followers")
    count = "" if followers is None else f"{followers:,} followers"
    return ", ".join(filter(None, (count, "verified" if user.value.get("isVerified") is True else "")))


def _matches(term: Term, query: str) -> bool:
    wanted = query.casefold()
    return wanted in term.name.casefold() or str(term.value).casefold().startswith(wanted)
