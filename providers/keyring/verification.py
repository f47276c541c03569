"""Checks a key where its provider has a call for that which costs nothing: when it is stored, and when its owner asks.

Only the provider's own word makes a key dead. If the provider cannot be asked, the state stays, and `check_problem` says why. No
transaction is open during the call, so a key is checked after it is stored, and stays stored whatever the check finds.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime

from accounts import clock, vault
from providers import registry
from providers.contract import ProviderAccount
from providers.failures import Failure
from providers.keyring import free_calls, sealing, states
from providers.models import Credential

UNTRIED = "{} has no call that checks a key for nothing; the next search with it tells."
MAGIC = "A magic key is the sandbox's, so no provider is asked to check it; the next search with it tells."


class NotAsked(Exception):
    """The provider cannot be asked for the account of a key. The message says why."""


@dataclass(frozen=True, kw_only=True)
class AccountReading:
    """The account of a key, as its provider described it between two instants of the database's clock."""

    account: ProviderAccount
    asked_at: datetime
    answered_at: datetime


def check(credential: Credential) -> None:
    """Asks the provider for the account of a key, if that costs nothing, and notes the answer. Raises no `Failure`."""
    if _why_not(credential) is None:
        _ask(credential)


def verify(credential: Credential) -> None:
    """Checks a key whose owner says that it works. A dead key that only a search can check becomes untried.

    The provider is asked each time, however recent the last check is: a search may have failed since, and an account may have got
    credits. If the provider cannot be asked now, `check_problem` says when it can.
    """
    why_not = _why_not(credential)
    if why_not is None:
        _ask(credential)
    elif sealing.is_unreadable(credential):
        states.note_unchecked(credential, sealing.NEEDS_REENTRY)
    else:
        states.try_again(credential)
        states.note_unchecked(credential, why_not)


def read_account(credential: Credential) -> AccountReading:
    """Asks the provider for the account of a key, and notes the answer or the failure. Raises `NotAsked` or a `Failure`."""
    if why_not := _why_not(credential):
        raise NotAsked(why_not)
    asked_at = clock.now()
    try:
        ask = registry.FREE_CALLS[credential.provider].account
        account = free_calls.make(ask, free_calls.with_key_of(credential))
    except vault.Unopenable:
        states.note_failed_check(credential, sealing.NEEDS_REENTRY)
        raise NotAsked(sealing.NEEDS_REENTRY) from None
    except Failure as failure:
        states.note_failure(credential, failure, asked_at=asked_at)
        states.note_failed_check(credential, failure.detail)
        raise
    states.note_account(credential, account, asked_at=asked_at)
    return AccountReading(account=account, asked_at=asked_at, answered_at=clock.now())


def _why_not(credential: Credential) -> str | None:
    """Returns why the provider is not asked; None if it is."""
    if credential.provider not in registry.FREE_CALLS:
        return UNTRIED.format(credential.provider)
    return MAGIC if credential.is_magic else None


def _ask(credential: Credential) -> None:
    with suppress(NotAsked, Failure):
        read_account(credential)
