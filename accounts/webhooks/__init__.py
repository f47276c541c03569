"""Webhooks: what happened (`events`), where tenants want to be told (`endpoints`), and how each event gets there (`delivery`).

Other apps record events and redeliver them; the functions that they need are named here.
"""

from accounts.webhooks.events import erase, record, record_wanted
from accounts.webhooks.redelivery import (
    MOST_ATTEMPTS,
    MOST_RESENT,
    RangeTooLong,
    TooManyAttempts,
    ping,
    redeliver,
    redeliver_range,
)

__all__ = [
    "MOST_ATTEMPTS",
    "MOST_RESENT",
    "RangeTooLong",
    "TooManyAttempts",
    "erase",
    "ping",
    "record",
    "record_wanted",
    "redeliver",
    "redeliver_range",
]
