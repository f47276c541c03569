"""The tables of who asks (operators, tenants, API keys) and of webhooks (endpoints, events, deliveries and their attempts), and
of requests that may be sent twice (idempotency keys), and the log of acts and of bulk acts. `rollups` has what is counted by
hour."""

from accounts.models.acts import Act
from accounts.models.api_keys import ApiKey, FormerSecret, Mode, Scope
from accounts.models.bulk_acts import BulkAct
from accounts.models.idempotency import IdempotencyKey
from accounts.models.operators import Operators, User
from accounts.models.rollups import DeliveryHour, RollupProgress
from accounts.models.second_factors import SecondFactor
from accounts.models.tenants import MOST_MAX_AGE, Tenant, TenantQuerySet
from accounts.models.webhooks import Attempt, Delivery, Endpoint, Event, EventType, PresentEndpoints

__all__ = [
    "MOST_MAX_AGE",
    "Act",
    "ApiKey",
    "Attempt",
    "BulkAct",
    "Delivery",
    "DeliveryHour",
    "Endpoint",
    "Event",
    "EventType",
    "FormerSecret",
    "IdempotencyKey",
    "Mode",
    "Operators",
    "PresentEndpoints",
    "RollupProgress",
    "Scope",
    "SecondFactor",
    "Tenant",
    "TenantQuerySet",
    "User",
]
