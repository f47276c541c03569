"""Reads what a provider counted for a key, and compares it with the calls that were made with the key.

No transaction is open while the provider is asked. Of two who read one key at once the first is recorded, and the second
answers what the first recorded.
"""

from __future__ import annotations

from django.db.models import QuerySet

from billing import reconciliation
from billing.models import Reading
from billing.reconciliation import CannotReconcile
from providers import registry
from providers.keyring import verification
from providers.models import Credential
from searches.reconciliation import costs

TELLS_NOTHING = "{} does not tell what it has counted, so there is nothing to compare with its calls."
MAGIC = "A magic key is the sandbox's: no provider counts what it costs, so there is nothing to compare."


def reconcile(credential: Credential) -> Reading:
    """Asks the provider for the credits that the key has left. Returns the reading; its `reconciliation` compares it with the
    reading before, if there is one of the last week.

    Raises `CannotReconcile`, or the `Failure` of a provider that cannot be asked now. Neither changes a row of readings.
    """
    if why_not := cannot(credential):
        raise CannotReconcile(why_not)
    opening = reconciliation.last_reading(credential)
    try:
        found = verification.read_account(credential)
    except verification.NotAsked as error:
        raise CannotReconcile(str(error)) from None
    reading = reconciliation.read(credential, found)
    if opening is None or not reconciliation.are_comparable(opening, reading):
        return reconciliation.record(credential, reading, opening, None)
    return reconciliation.record(credential, reading, opening, costs.between(credential, opening, found))


def reconcilable() -> QuerySet[Credential]:
    """Returns the keys that are reconciled without being named: those for which nothing stands against it (`cannot`), and which
    make calls, being neither dead nor of a suspended tenant.
    """
    told = Credential.objects.filter(provider__in=registry.FREE_CALLS, is_magic=False)
    return told.filter(tenant__suspended_at=None).exclude(state__in=Credential.DEAD_STATES)


def cannot(credential: Credential) -> str:
    """Returns why the provider's count of a key can never be read; empty if it can."""
    if credential.provider not in registry.FREE_CALLS:
        return TELLS_NOTHING.format(credential.provider)
    return MAGIC if credential.is_magic else ""
