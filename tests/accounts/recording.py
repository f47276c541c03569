"""Makes, as a program, a tenant with an endpoint at an address, and records so many events for it, in its environment's
Sightline. Prints their ids.
"""

from __future__ import annotations

import json
import sys


def main(url: str, count: int) -> None:
    import django

    django.setup()
    from accounts import webhooks
    from accounts.models import Event, EventType, Mode, Tenant
    from accounts.webhooks import endpoints

    tenant = Tenant.objects.create(name="Alice")
    endpoints.create(tenant, Mode.LIVE, url=url)
    for number in range(count):
        webhooks.record(tenant.pk, Mode.LIVE, EventType.SEARCH_FAILED, {"number": number})
    sys.stdout.write(json.dumps([str(event.pk) for event in Event.objects.all()]))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
