"""Shows a lane's line to operators: which lookups are claimed next, and where each tenant's queue stands among the others."""

from __future__ import annotations

from collections.abc import Iterable

from django.db import connection

from providers.models import Credential
from searches.lanes import queue
from searches.models import Lookup, TenantQueue

MOST = 20
# Tenant queues that are looked at. More than `MOST`, for a queue whose keys all rest or are dead gives no lookup.
MOST_QUEUES = 5 * MOST
# Lookups of one tenant that are read to find those without a key.
MOST_READ = 200
NEXT = "SELECT lookup_id FROM searches_next_in_line(%s, %s, %s, %s, %s, %s) ORDER BY place"

# A place beyond this is not counted: it would read all queues before it, for each that is shown.
LAST_PLACE = 1000
PLACES = """
SELECT own.id, (
    SELECT count(*) FROM (
        SELECT FROM searches_tenantqueue other JOIN accounts_tenant tenant ON tenant.id = other.tenant_id
        WHERE other.lane_id = own.lane_id AND other.ready > 0 AND other.rests_until IS NULL AND tenant.suspended_at IS NULL
            AND (other.virtual_time, other.tenant_id) < (own.virtual_time, own.tenant_id)
        ORDER BY other.virtual_time, other.tenant_id LIMIT %s
    ) AS before
) + 1
FROM searches_tenantqueue own JOIN accounts_tenant tenant ON tenant.id = own.tenant_id
WHERE own.id = ANY(%s) AND own.ready > 0 AND own.rests_until IS NULL AND tenant.suspended_at IS NULL
"""


def of(lane: str, *, most: int = MOST) -> list[Lookup]:
    """Returns the lookups that claims take next, in their order, with tenants and searches. Locks nothing.

    Delayed lookups are among them from the time at which they are due. Of a tenant's lookups with equal sort keys, which are
    parts of one search, claims may take either first.
    """
    dead_states = [str(state) for state in Credential.DEAD_STATES]
    with connection.cursor() as cursor:
        cursor.execute(NEXT, (lane, most, MOST_QUEUES, MOST_READ, queue.STEP, dead_states))
        ids = [pk for (pk,) in cursor.fetchall()]
    found = Lookup.objects.select_related("tenant", "search").in_bulk(ids)
    return [found[pk] for pk in ids if pk in found]


def places(tenant_queues: Iterable[TenantQueue]) -> dict[int, int]:
    """Returns the place of each tenant queue among those of its lane, by its id: 1 is claimed from next.

    A queue that claims skip has none: it has no ready lookup, its keys rest, or its tenant is suspended. `LAST_PLACE` + 1 stands
    for all places beyond.
    """
    with connection.cursor() as cursor:
        cursor.execute(PLACES, (LAST_PLACE, [each.pk for each in tenant_queues]))
        return dict(cursor.fetchall())
