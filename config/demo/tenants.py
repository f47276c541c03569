"""Creates the tenants of the demo: one with credits, and a neighbour whose lookups are in the queue first.

Both have the same provider key, like one account of the provider. The sandbox limits each key, and therefore judges every
call of the lane against every other. The demo's policy has a wider guard than usual, because caller and sandbox share the
processors of one machine, and either may notice a call some milliseconds late.
"""

from __future__ import annotations

from decimal import Decimal

from django.db import connections
from django.db.models.functions import Now
from django.utils import timezone

from accounts import keys
from accounts.models import Mode, Tenant
from billing import ledger
from providers import policies, registry
from providers.keyring import credentials
from providers.models import Policy

GRANT = Decimal(10)
GUARD_MS = Decimal(20)
NAMES = ("Demo", "Neighbour in the demo")


def prepare() -> None:
    """Suspends the tenants of earlier demos, whose waiting lookups would join the counts, and widens the guards."""
    for name in NAMES:
        Tenant.objects.filter(name__startswith=f"{name} of ", suspended_at=None).update(suspended_at=Now())
    for provider in registry.PROVIDERS:
        Policy.objects.filter(pk=policies.of(provider).pk).update(guard_ms=GUARD_MS)


def create() -> list[str]:
    """Creates both tenants anew, with a provider key and credits each. Returns an API key of each."""
    moment = timezone.now().isoformat(" ", "microseconds")
    api_keys = [_tenant(f"{name} of {moment}") for name in NAMES]
    connections.close_all()
    return api_keys


def _tenant(name: str) -> str:
    tenant = Tenant.objects.create(name=name)
    for provider in registry.PROVIDERS:
        credentials.store(tenant, provider, "sandbox-demo")
        ledger.grant(ledger.account_of(tenant, provider), GRANT, memo="For the demo.")
    return keys.issue(tenant, Mode.LIVE)[1]
