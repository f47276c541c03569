"""Checks a key where its provider has a call that costs nothing: when it is stored, and when a tenant asks.

Only the provider's own word makes a key dead: what could not be asked leaves its state as it was, and a note of why. No
transaction is open while the network is, so a key is checked once it is stored, and is stored whatever comes of that.
"""

from __future__ import annotations

from accounts import vault
from providers import registry
from providers.failures import BadCredential, Exhausted, Failure
from providers.keyring import credentials, free_calls
from providers.models import Credential

UNTRIED = "{} has no call that checks a key for nothing; the next search with it tells."
MAGIC = "A magic key is the sandbox's, so no provider is asked to check it; the next search with it tells."


def check(credential: Credential) -> None:
    """Notes in its row what the provider makes of a key, where it can be asked for nothing. No provider's trouble raises."""
    if _why_not(credential) is None:
        _ask(credential)


def verify(credential: Credential) -> None:
    """The same, because its owner says that it works: a dead key that only a search can check is tried again.

    The provider is asked each time, however young the last check is: a search may have found something else since, and an
    account may have got credits. Where it cannot be asked now, `check_problem` says when.
    """
    why_not = _why_not(credential)
    if why_not is None:
        _ask(credential)
    elif credentials.needs_reentry(credential):
        credentials.note_unchecked(credential, credentials.NEEDS_REENTRY)
    else:
        credentials.try_again(credential)
        credentials.note_unchecked(credential, why_not)


def _why_not(credential: Credential) -> str | None:
    """Why its provider is not asked; None where it is."""
    if credential.provider not in registry.FREE_CALLS:
        return UNTRIED.format(credential.provider)
    return MAGIC if credential.is_magic else None


def _ask(credential: Credential) -> None:
    provider, asked_at = credential.provider, credentials.now()
    try:
        secret = credentials.secret_of(credential)
        caller = free_calls.live(provider, secret, fingerprint=credential.fingerprint, tenant_id=credential.tenant_id)
        account = free_calls.make(registry.FREE_CALLS[provider].account, caller)
    except vault.Unopenable:
        credentials.note_check(credential, credentials.NEEDS_REENTRY)
    except Failure as failure:
        if isinstance(failure, BadCredential):
            credentials.mark(credential, Credential.State.INVALID, problem=failure.detail, asked_at=asked_at)
        elif isinstance(failure, Exhausted):
            credentials.mark(credential, Credential.State.EXHAUSTED, problem=failure.detail, asked_at=asked_at)
        credentials.note_check(credential, failure.detail)
    else:
        credentials.note_account(credential, account, asked_at=asked_at)
