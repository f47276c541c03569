"""Webhooks: what happened (`events`), where tenants want to be told (`endpoints`), and the way there (`delivery`).

Other apps record events and redeliver them; what they need is named here.
"""

from accounts.webhooks.events import (
    MOST_ATTEMPTS,
    MOST_RESENT,
    RangeTooLong,
    TooManyAttempts,
    erase,
    ping,
    record,
    redeliver,
    redeliver_range,
    wanted,
)

__all__ = [
    "MOST_ATTEMPTS",
    "MOST_RESENT",
    "RangeTooLong",
    "TooManyAttempts",
    "erase",
    "ping",
    "record",
    "redeliver",
    "redeliver_range",
    "wanted",
]
