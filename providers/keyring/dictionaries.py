"""Looks up the values that a search's parameters take in the providers' own dictionaries, and keeps the answers for a day.

A dictionary is public and the same for everybody, so an answer is cached once for all tenants of a process. It is read with a
tenant's key, so only a tenant that has a key to the provider may ask. The cache is Django's, in the process's own memory, which
forgets answers when it is full: in Redis, whose memory the limiter shares, nothing is forgotten before its time.
"""

from __future__ import annotations

import hashlib
import json
from functools import partial

from django.core.cache import cache

from accounts import clock, vault
from accounts.models import Mode, Tenant
from providers import registry
from providers.contract import Term
from providers.failures import BadCredential, Exhausted
from providers.keyring import advice, credentials, free_calls, sealing, states
from providers.keyring.free_calls import Caller, FreeCall
from providers.models import Credential

KEPT_SECONDS = 86_400
# A longer answer is not kept. The cache holds 300 answers (Django's default), so 19 MB a process at most.
MOST_CHARACTERS = 64_000
REFUSED = "{} does not accept your default key: store one that it accepts, or verify it once it is mended there."

Terms = tuple[Term, ...]


class UnknownDictionary(LookupError):
    """There is no such provider or dictionary. The message says which there are."""


class NoDefaultCredential(Exception):
    """The tenant has no default key to the provider. The message says which keys it has."""


class CredentialUnusable(Exception):
    """The tenant's default key to the provider does not work. The message says why."""


def names() -> dict[str, tuple[str, ...]]:
    """Returns each provider's dictionaries that can be asked under the present settings."""
    return {provider: calls.dictionaries() for provider, calls in registry.FREE_CALLS.items()}


def look_up(tenant: Tenant, mode: str, provider: str, name: str, query: str) -> Terms:
    """Returns the terms that match. A test key's question is answered by the sandbox.

    Raises `UnknownDictionary`, `NoDefaultCredential`, `CredentialUnusable`, or the `Failure` of the call.
    """
    if name not in names().get(provider, ()):
        raise UnknownDictionary(_what_there_is())
    query = " ".join(query.split()).casefold()
    call: FreeCall[Terms] = partial(registry.FREE_CALLS[provider].dictionary, name, query)
    credential = None if mode == Mode.TEST else _default_of(tenant, provider)
    caller = free_calls.sandboxed(provider, tenant) if credential is None else _caller(credential)
    key = _key(caller.base_url, provider, name, query)
    terms: Terms | None = cache.get(key)
    if terms is None:
        terms = free_calls.make(call, caller) if credential is None else _ask(credential, call, caller)
        if len(repr(terms)) <= MOST_CHARACTERS:
            cache.set(key, terms, KEPT_SECONDS)
    return terms


def _key(*asked: str) -> str:
    """Returns the key of a question and its address: an answer of the sandbox must not be taken for the provider's."""
    return f"dictionary:{hashlib.sha256(json.dumps(asked).encode()).hexdigest()}"


def _default_of(tenant: Tenant, provider: str) -> Credential:
    credential = credentials.default_of(tenant.pk, provider)
    if credential is None:
        raise NoDefaultCredential(advice.why_no_default(tenant.pk, provider))
    return credential


def _caller(credential: Credential) -> Caller:
    try:
        return free_calls.with_key_of(credential)
    except vault.Unopenable:
        raise CredentialUnusable(sealing.NEEDS_REENTRY) from None


def _ask(credential: Credential, call: FreeCall[Terms], caller: Caller) -> Terms:
    """Asks the provider, and notes if it refuses the key.

    A key that is known to be invalid is not sent. One whose account has no credits is, for the call costs none.
    """
    if credential.state == Credential.State.INVALID:
        raise CredentialUnusable(REFUSED.format(credential.provider))
    asked_at = clock.now()
    try:
        return free_calls.make(call, caller)
    except (BadCredential, Exhausted) as failure:
        states.note_failure(credential, failure, asked_at=asked_at)
        raise CredentialUnusable(failure.detail) from None


def _what_there_is() -> str:
    known = "; ".join(f"{provider} has {', '.join(each)}" for provider, each in names().items())
    return f"There is no such dictionary here: {known}."
