"""Creates tenants who have room for so many searches, each by the same limits.

It runs as a program in the environment of their Sightline, as `cast` does.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any

# What one search can cost: two results at the price of Modash.
COST = Decimal("0.05")
PROVIDER = "modash"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The searches that each limit has room for; None: the limit is not set. `keys`: of each of the tenant's API keys."""

    balance: int | None = None
    tenant: int | None = None
    keys: tuple[int | None, ...] = (None,)

    def as_json(self) -> str:
        return json.dumps(asdict(self))


def main(limits: Limits, count: int) -> None:
    import django

    django.setup()
    sys.stdout.write(json.dumps([_made(limits, number) for number in range(count)]))


def _made(limits: Limits, number: int) -> dict[str, Any]:
    """Returns the tenant's id, the ids and secrets of its live keys, and the secret of its test key."""
    from accounts import keys
    from accounts.models import Mode, Tenant
    from billing import ledger
    from billing.models import KeyCap, TenantCap
    from providers.keyring import credentials

    tenant = Tenant.objects.create(name=f"{limits.as_json()} {number}"[:80])
    credentials.create(tenant, PROVIDER, f"key-of-{tenant.pk}", label="default", is_default=True)
    issued = [keys.issue(tenant, Mode.LIVE) for _ in limits.keys]
    if limits.balance is not None:
        ledger.grant(ledger.account_of(tenant, PROVIDER), limits.balance * COST)
    if limits.tenant is not None:
        TenantCap.objects.create(tenant=tenant, provider=PROVIDER, amount=limits.tenant * COST)
    for (key, _), room in zip(issued, limits.keys, strict=True):
        if room is not None:
            KeyCap.objects.create(api_key=key, provider=PROVIDER, amount=room * COST)
    return {
        "tenant": str(tenant.pk),
        "keys": [(str(key.pk), secret) for key, secret in issued],
        "test_key": keys.issue(tenant, Mode.TEST)[1],
    }


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    main(Limits(**{**given, "keys": tuple(given["keys"])}), int(sys.argv[2]))
