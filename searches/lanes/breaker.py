"""When a provider fails for everybody, its lane pauses, so that no lookup's attempts are burnt in vain. As a pure function: its
test is a table.

    closed ──5 failures in a row, of at least 2 tenants' keys──► open: nothing is claimed, for 15 s
    open ──its time is over──► half-open: one call goes, the probe, and the others wait for what comes of it
    half-open ──the probe fails──► open, for twice as long as the last time, up to 5 min
    any ──a call is answered──► closed

A failure is what the provider's side does: no connection, an error of its own, no whole answer. One key's failures never open
it, however many, nor do one tenant's, with however many keys: they may be its alone. What is said of one question, as a refusal
is, says nothing of the provider, so it is not counted either way.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from providers.failures import Duplicate, Failure, Faulty, Lost, Unreachable

# So many failures in a row are no coincidence.
FAILURES = 5
FIRST_SECONDS, LONGEST_SECONDS = 15.0, 300.0
# Doubled so often, it has long been the longest; the column has an end.
MOST_TRIPS = 1000


@dataclass(frozen=True, kw_only=True)
class Count:
    """What a lane's row keeps. `failures`: in a row, counted up to `FAILURES`; `key` and `tenant`: the first one's, the key
    as its fingerprint; `several`: whether another tenant's failed since with another key; `trips`: times that it opened in a
    row, none where it is closed.
    """

    failures: int = 0
    key: str = ""
    tenant: UUID | None = None
    several: bool = False
    trips: int = 0


def is_theirs(failure: Failure) -> bool:
    return isinstance(failure, (Unreachable, Faulty, Lost)) and not isinstance(failure, Duplicate)


def failed(count: Count, *, key: str, tenant: UUID, is_probe: bool) -> tuple[Count, float]:
    """The count after one more failure, and for how many seconds the lane pauses now: 0 where it does not.

    While it is open or half-open only the probe counts: what was under way when it opened says nothing new.
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
