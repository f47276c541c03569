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
from typing import Any

import httpx
from django.conf import settings

from providers.adapters import modash, redaction
from providers.adapters.fields import Fields
from providers.adapters.replies import ParsedReply
from providers.contract import Access, ProviderAccount, Term
from providers.failures import Failure

# The most terms of one answer. A query that matches more should be narrowed.
MOST_TERMS = 100
# The longest text of a plan's limits that is kept and shown, as JSON.
MOST_CHARACTERS = 4000
# The field of each dictionary that a search's parameter takes.
VALUES = {"locations": "id", "languages": "code", "brands": "name", "users": "username"}


class ModashAccount:
    """The free calls to Modash. They raise the failures of adapters."""

    def account(self, access: Access) -> ProviderAccount:
        """Returns the key's account. Raises `BadCredential` if Modash does not accept the key."""
        reply = _answer("/user/info", {}, access)
        if not any(isinstance(reply.envelope.get(name), dict) for name in ("user", "billing")):
            raise _unreadable(reply, "neither user nor billing is in it")
        return _account(Fields(reply.envelope), access.secret.value)

    def dictionaries(self) -> tuple[str, ...]:
        """Returns the names of the dictionaries that can be asked under the present settings."""
        return tuple(_paths())

    def dictionary(self, name: str, query: str, access: Access) -> tuple[Term, ...]:
        """Returns the terms of a dictionary that match. An empty query matches all."""
        reply = _answer(_paths()[name], _query(name, query), access)
        terms = [] if modash.has_nothing_more(reply) else _terms(name, reply)
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


def _answer(path: str, query: Mapping[str, str], access: Access) -> ParsedReply:
    """Returns the reply. Raises the failure that it reports."""
    headers = {"Authorization": f"Bearer {access.secret.value}", "Accept": "application/json"}
    request = httpx.Request("GET", access.url(path), params=query or None, headers=headers)
    reply = ParsedReply.to(request, access)
    if modash.is_failure(reply, has_results=False) and not modash.has_nothing_more(reply):
        raise modash.failure_of(reply)
    return reply


def _unreadable(reply: ParsedReply, problem: str) -> Failure:
    return reply.failure(modash.KINDS.unreadable(problem))


def _account(fields: Fields, secret: str) -> ProviderAccount:
    billing = fields.object("billing")
    credits = billing.number("credits")
    limits = {
        "rateLimits": fields.object("rateLimits").value or None,
        "rawRequests": billing.number("rawRequests"),
    }
    return ProviderAccount(
        credits=None if credits is None else Decimal(str(credits)),
        requests=billing.count("rawRequests"),
        limits=_shown({name: value for name, value in limits.items() if value is not None}, secret),
    )


def _shown(limits: dict[str, Any], secret: str) -> dict[str, Any]:
    """Returns the limits; nothing if they quote the key or are too long."""
    text = json.dumps(limits)
    return {} if len(text) > MOST_CHARACTERS or redaction.quotes(text, secret) else limits


def _terms(name: str, reply: ParsedReply) -> list[Term]:
    """Reads the lines. A line without the parameter's value is skipped; if all lines lack it, the answer is unreadable."""
    listed = reply.envelope.get(name)
    if not isinstance(listed, list):
        raise _unreadable(reply, f"{name} is not a list")
    terms = [term for term in (_term(name, each) for each in listed) if term is not None]
    if listed and not terms:
        raise _unreadable(reply, f"{name} has no line with its {VALUES[name]}")
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
