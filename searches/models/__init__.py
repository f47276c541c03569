"""The product's tables: pictures, searches, lookups, and the queues that lookups wait in.

A lookup's `status` is what tenants see, its `queue_state` where it is in its lane. Both move together, by conditional updates in
`queue` (with `claim.sql`), `credential_gate`, `followers` and `completion`. `transitions.sql` has every transition of lookups and
calls with its cause, and makes the database refuse all others. `rollups` has what is counted by minute and hour.
"""

from searches.models.calls import Call, Result
from searches.models.lanes import Lane, TenantQueue
from searches.models.lookups import Lookup, QueueState, Repeat
from searches.models.pictures import Image, PictureUsage, Rendering
from searches.models.rollups import (
    LATENCY_BOUNDS_MS,
    LaneHour,
    LaneMinute,
    LaneShare,
    SampledMinute,
    SearchHour,
)
from searches.models.searches import Search, SearchUsage, Status

__all__ = [
    "LATENCY_BOUNDS_MS",
    "Call",
    "Image",
    "Lane",
    "LaneHour",
    "LaneMinute",
    "LaneShare",
    "Lookup",
    "PictureUsage",
    "QueueState",
    "Rendering",
    "Repeat",
    "Result",
    "SampledMinute",
    "Search",
    "SearchHour",
    "SearchUsage",
    "Status",
    "TenantQueue",
]
