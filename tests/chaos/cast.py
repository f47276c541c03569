"""Creates the tenants, whose keys are magic at every provider, so that each tenant meets failures of one kind.

It runs as a program in the environment of their Sightline and prints their API keys: so many runs of
`manage.py create_tenant` would take half a minute to start.
"""

from __future__ import annotations

import json
import os
import sys
from decimal import Decimal

# Each tenant's key to all providers, and its share of a hundred searches. Keys that stop a whole lane, or take long, have small
# shares.
CAST = {
    "anna": ("key-of-anna", 19),
    "bela": ("key-of-bela", 16),
    "cleo": ("key-of-cleo", 13),
    "dora": ("sandbox_error_dora", 12),
    "emil": ("sandbox_reset_emil", 8),
    "finn": ("sandbox_garbage_finn", 8),
    "gwen": ("sandbox_slow_gwen", 7),
    "hugo": ("sandbox_unsteady_hugo", 5),
    "iris": ("sandbox_hang_iris", 4),
    "joan": ("sandbox_empty_joan", 4),
    "kurt": ("sandbox_throttled_kurt", 2),
    "lena": ("sandbox_throttled_retry_after_lena", 2),
}
# Credits of the first tenant, whose accounts are prepaid; the others' are metered.
GRANT = Decimal(10_000)


def main(names: list[str]) -> None:
    import django

    django.setup()
    from accounts import keys
    from accounts.models import Mode, Tenant
    from billing import ledger
    from providers import policies, registry
    from providers.keyring import credentials
    from providers.models import Policy

    limits = json.loads(os.environ["LIMITS"])
    secrets = {}
    for name in names:
        tenant = Tenant.objects.create(name=name)
        secrets[name] = keys.issue(tenant, Mode.LIVE)[1]
        for provider in registry.PROVIDERS:
            credentials.create(tenant, provider, CAST[name][0], label="default", is_default=True)
            if name == names[0]:
                ledger.grant(ledger.account_of(tenant, provider), GRANT)
    for provider in registry.PROVIDERS:
        Policy.objects.filter(pk=policies.of(provider).pk).update(**limits)
    sys.stdout.write(json.dumps(secrets))


if __name__ == "__main__":
    main(sys.argv[1:])
