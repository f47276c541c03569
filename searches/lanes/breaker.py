"""Pauses a lane whose provider fails for all tenants, so that no attempt is wasted. A pure function, tested by a table.

    closed ──5 failures in a row, of at least 2 tenants' keys──► open: nothing is claimed, for 15 s
    open ──its time is over──► half-open: one call is made, the probe, and the others wait for its outcome
    half-open ──the probe fails──► open, for twice as long as the last time, up to 5 min
    any ──a call is answered──► closed

Failures of the provider count: no connection, an error of its own, an incomplete answer. The failures of one key, or of one
tenant with several keys, never open the breaker, for the fault may be the tenant's. A refusal is about one request and not about
the provider, so it neither counts nor resets the count.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from providers.failures import Duplicate, Failure, Faulty, Lost, Unreachable

# Failures in a row that are no coincidence.
FAILURES = 5
FIRST_SECONDS, LONGEST_SECONDS = 15.0, 300.0
# The count stops here, for the column is a small integer. The pause has long been the longest by then.
MOST_TRIPS = 1000


@dataclass(frozen=True, kw_only=True)
class Count:
    """The breaker's state, which the lane's row keeps.

    `failures` in a row are counted up to `FAILURES`. `key` (a fingerprint) and `tenant` are the first failure's. `several` says
    whether another tenant's call with another key has failed since. `trips` counts how often in a row the breaker opened; it is 0
    while the breaker is closed.
    """

    failures: int = 0
    key: str = ""
    tenant: UUID | None = None
    several: bool = False
    trips: int = 0


def is_theirs(failure: Failure) -> bool:
    return isinstance(failure, (Unreachable, Faulty, Lost)) and not isinstance(failure, Duplicate)


def failed(count: Count, *, key: str, tenant: UUID, is_probe: bool) -> tuple[Count, float]:
    """Returns the count after one more failure, and for how many seconds the lane pauses now, or 0.

    While the breaker is open or half-open only the probe counts: calls that were under way when it opened are no news.
    """
    if count.trips:
        return _trip(count) if is_probe else (count, 0.0)
    if not count.failures:
        return Count(failures=1, key=key, tenant=tenant), 0.0
    counted = replace(
        count,
        failures=min(count.failures + 1, FAILURES),
        several=count.several or (key != count.key and tenant != count.tenant),
    )
    return _trip(counted) if counted.failures == FAILURES and counted.several else (counted, 0.0)


def _trip(count: Count) -> tuple[Count, float]:
    seconds = min(FIRST_SECONDS * 2.0 ** min(count.trips, 10), LONGEST_SECONDS)
    return replace(count, trips=min(count.trips + 1, MOST_TRIPS)), seconds
