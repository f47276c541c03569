"""The words that a search's parameters take, from the providers' own dictionaries, kept for a day.

What a dictionary says is public and the same for everybody, so an answer is kept once for all tenants, in Redis; but it
is read with a tenant's key, so only a tenant that has one may ask. Without Redis nothing is kept, and no call leaves.

The limiter needs the same Redis, which forgets nothing of itself: so there are so many places, a query's is told by its
hash, and the last one to come has it. Rejected: forgetting the least used, which needs an index and a script to be exact.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import redis
from django.conf import settings

from accounts import redis_client, vault
from accounts.models import Mode, Tenant
from providers import registry
from providers.contract import Term
from providers.failures import BadCredential, Exhausted
from providers.keyring import advice, credentials, free_calls
from providers.keyring.free_calls import Call, Caller
from providers.models import Credential

log = logging.getLogger(__name__)

KEPT_SECONDS = 86_400
# At most so many answers of at most so many characters: 64 MB together, and mostly a tenth.
PLACES, MOST_CHARACTERS = 1000, 64_000
REFUSED = "{} does not accept your default key: store one that it accepts, or verify it once it is mended there."
KEY_PREFIX = redis_client.keys("dictionary:")
UNREACHED = "a dictionary is neither kept nor found kept: %s"


Terms = tuple[Term, ...]


class UnknownDictionary(LookupError):
    """There is no such provider or dictionary. The message says which there are."""


class NoDefaultCredential(Exception):
    """The tenant has no key to the provider, or none that is its default. The message says which."""


class CredentialUnusable(Exception):
    """The tenant's key to the provider does not work. The message says why."""


def names() -> dict[str, tuple[str, ...]]:
    """Each provider's dictionaries, as far as they can be asked now."""
    return {provider: calls.dictionaries() for provider, calls in registry.FREE_CALLS.items()}


def look_up(tenant: Tenant, mode: str, provider: str, name: str, query: str) -> tuple[Term, ...]:
    """The terms that match. Raises, beside the above, a `Failure`. A test key asks the sandbox."""
    if name not in names().get(provider, ()):
        raise UnknownDictionary(_what_there_is())
    query = " ".join(query.split()).casefold()
    if mode == Mode.TEST:
        return _remembered(free_calls.sandboxed(provider, tenant), name, query, free_calls.make)
    credential = Credential.objects.for_tenant(tenant).filter(provider=provider, is_default=True).first()
    if credential is None:
        raise NoDefaultCredential(advice.why_no_default(tenant.pk, provider))
    caller = _with_key(credential)
    return _remembered(caller, name, query, partial(_ask, credential))


def _with_key(credential: Credential) -> Caller:
    try:
        secret = credentials.secret_of(credential)
    except vault.Unopenable:
        raise CredentialUnusable(credentials.NEEDS_REENTRY) from None
    return free_calls.live(
        credential.provider, secret, fingerprint=credential.fingerprint, tenant_id=credential.tenant_id
    )


def _ask(credential: Credential, call: Call[Terms], caller: Caller) -> Terms:
    """A key that is known to be refused is not tried again; one that is out of credits may ask what costs none."""
    if credential.state == Credential.State.INVALID:
        raise CredentialUnusable(REFUSED.format(credential.provider))
    asked_at = credentials.now()
    try:
        return free_calls.make(call, caller)
    except BadCredential as failure:
        credentials.mark(credential, Credential.State.INVALID, problem=failure.detail, asked_at=asked_at)
        raise CredentialUnusable(failure.detail) from None
    except Exhausted as failure:
        credentials.mark(credential, Credential.State.EXHAUSTED, problem=failure.detail, asked_at=asked_at)
        raise CredentialUnusable(failure.detail) from None


def _remembered(caller: Caller, name: str, query: str, ask: Callable[[Call[Terms], Caller], Terms]) -> Terms:
    """By where it was asked too: what the sandbox says is no provider's word."""
    asked = json.dumps([caller.base_url, caller.provider, name, query])
    kept = _kept(asked)
    if kept is None:
        kept = ask(partial(registry.FREE_CALLS[caller.provider].dictionary, name, query), caller)
        _keep(asked, kept)
    return kept


def _place(asked: str) -> str:
    return f"{KEY_PREFIX}{int.from_bytes(hashlib.sha256(asked.encode()).digest()) % PLACES}"


def _kept(asked: str) -> Terms | None:
    try:
        text: Any = redis_client.of(settings.REDIS_URL).get(_place(asked))
    except redis.RedisError as error:
        log.warning(UNREACHED, type(error).__name__)
        return None
    kept = {} if text is None else json.loads(text)
    return tuple(Term(**term) for term in kept["terms"]) if kept.get("asked") == asked else None


def _keep(asked: str, terms: Terms) -> None:
    text = json.dumps({"asked": asked, "terms": [asdict(term) for term in terms]})
    if len(text) > MOST_CHARACTERS:
        return
    try:
        redis_client.of(settings.REDIS_URL).set(_place(asked), text, ex=KEPT_SECONDS)
    except redis.RedisError as error:
        log.warning(UNREACHED, type(error).__name__)


def _what_there_is() -> str:
    known = "; ".join(f"{provider} has {', '.join(each)}" for provider, each in names().items())
    return f"There is no such dictionary here: {known}."
