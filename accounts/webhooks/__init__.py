"""Webhooks: what happened (`events`), the URLs that receive it (`endpoints`), and how each event is sent there (`delivery`).

The functions by which other apps record and erase events are named here.
"""

from accounts.webhooks.events import erase, record, record_wanted

__all__ = ["erase", "record", "record_wanted"]
