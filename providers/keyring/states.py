"""Keeps what a provider says of a key: the state of its credential, its account, and why a check failed.

Two rules hold for every note. A note is about the key that was asked with, and is dropped if the row holds another key by
now. The newest word counts: an answer to a question that was asked before the state last changed is dropped too (`asked_at`).
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now

from accounts import webhooks
from accounts.models import EventType, Mode
from accounts.numbers import decimal_text
from providers.contract import ProviderAccount
from providers.failures import BadCredential, Exhausted, Failure
from providers.keyring import sealing
from providers.models import Credential

STILL_EMPTY = "The provider takes the key, and its account has no credits left: add some there, then verify it again."
# The state that each failure proves. Every other failure says nothing of the key.
DEAD_BY: dict[type[Failure], Credential.State] = {
    BadCredential: Credential.State.INVALID,
    Exhausted: Credential.State.EXHAUSTED,
}
EVENTS = {
    Credential.State.INVALID: EventType.CREDENTIAL_REJECTED,
    Credential.State.EXHAUSTED: EventType.CREDENTIAL_EXHAUSTED,
}


def note_failure(credential: Credential, failure: Failure, *, asked_at: datetime) -> None:
    """Marks the credential dead if the failure proves that."""
    if type(failure) in DEAD_BY:
        mark(credential, DEAD_BY[type(failure)], problem=failure.detail, asked_at=asked_at)


@transaction.atomic
def mark(
    credential: Credential, state: Credential.State, *, problem: str = "", asked_at: datetime | None = None
) -> bool:
    """Notes a state that the provider proved, and announces a dead key to the tenant. Returns whether the row changed.

    `problem`: why the key is dead, for its owner. `asked_at`: when the provider was asked, by the database's clock; None:
    just now. A dead key's account is forgotten. Nothing is noted of a key that cannot be opened, for the provider was never
    asked about it.
    """
    if sealing.is_unreadable(credential):
        return False
    found: dict[str, Any] = {"state": state, "state_changed_at": Now()}
    if state in Credential.DEAD_STATES:
        found |= {"probing": True, "check_problem": problem[:500], "account": None, "account_read_at": None}
    changed = _as_known(credential, asked_at).exclude(state=state).update(**found)
    if changed and state in EVENTS:
        # Only a provider's word makes a key dead, and only live keys are sent to providers.
        data = {"id": credential.pk, "provider": credential.provider, "label": credential.label, "state": state.value}
        webhooks.record(credential.tenant_id, Mode.LIVE, EVENTS[state], data)
    return changed == 1


@transaction.atomic
def worked(credential: Credential, *, asked_at: datetime | None = None) -> None:
    """Notes that a search which asked with the key at `asked_at` was answered, and ends its probing.

    A credential that was found dead meanwhile stays dead until it is replaced or verified.
    """
    known = _as_known(credential, asked_at).select_for_update(no_key=True).first()
    if known is None or known.is_dead:
        return
    changed = {} if known.state == Credential.State.VERIFIED else {"state_changed_at": Now()}
    Credential.objects.same_key(credential).update(
        state=Credential.State.VERIFIED, check_problem="", probing=False, **changed
    )


@transaction.atomic
def note_account(credential: Credential, account: ProviderAccount, *, asked_at: datetime | None = None) -> None:
    """Notes the account that the provider described at `asked_at`, and thereby that it accepts the key.

    An exhausted credential stays exhausted as long as its account has no credits.
    """
    known = _as_known(credential, asked_at).select_for_update(no_key=True).first()
    if known is None:
        return
    credits = None if account.credits is None else decimal_text(account.credits)
    is_empty = account.credits is not None and account.credits <= 0
    stays_empty = is_empty and known.state == Credential.State.EXHAUSTED
    is_news = known.state != Credential.State.VERIFIED and not stays_empty
    changed = {"state": Credential.State.VERIFIED, "state_changed_at": Now()} if is_news else {}
    Credential.objects.same_key(credential).update(
        checked_at=Now(),
        check_problem=STILL_EMPTY if stays_empty else "",
        account={"credits": credits, "limits": dict(account.limits)},
        account_read_at=Now(),
        **changed,
    )


def note_failed_check(credential: Credential, problem: str) -> None:
    """Notes that a check was tried now, and why it proved nothing good."""
    Credential.objects.same_key(credential).update(checked_at=Now(), check_problem=problem[:500])


def note_unchecked(credential: Credential, problem: str) -> None:
    """Notes why a key was not checked. No check was tried, so `checked_at` stays."""
    Credential.objects.same_key(credential).update(check_problem=problem)


def try_again(credential: Credential) -> None:
    """Makes a dead key untried, where only a search can check it: one waiting lookup will try it."""
    dead = Credential.objects.same_key(credential).filter(state__in=Credential.DEAD_STATES)
    dead.update(state=Credential.State.UNKNOWN, state_changed_at=Now())


def _as_known(credential: Credential, asked_at: datetime | None) -> QuerySet[Credential]:
    """Returns the row of the same key, unless its state changed after the provider was asked."""
    known = Credential.objects.same_key(credential)
    return known if asked_at is None else known.filter(state_changed_at__lte=asked_at)
