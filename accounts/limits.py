"""Limits what one tenant may use: rates, numbers of rows, and how long its data are kept.

Each limit is a column of the tenant. An empty column means the setting of the same name, `TENANT_…`: operators change the limits
of one tenant in the admin, and those of all others in the environment.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.validators import MinValueValidator
from django.db import models

RATES = ("requests_per_second", "key_checks_per_minute", "test_events_per_minute", "redeliveries_per_minute")
COUNTS = (
    *("most_credentials", "most_api_keys", "most_endpoints"),
    *("most_images", "most_image_bytes", "most_searches", "most_waiting_lookups"),
)
RETENTION = ("image_retention_days", "result_retention_days", "search_retention_days")
# A hundred years. A longer retention may end after the last date that Python has.
MOST_DAYS = 36_500
OR_DEFAULT = " Empty: the default."


def _limit(meaning: str, *, least: int = 0, field: type[models.Field[Any, Any]] = models.PositiveIntegerField) -> Any:
    return field(null=True, blank=True, validators=[MinValueValidator(least)], help_text=f"{meaning}{OR_DEFAULT}")


def default(name: str) -> int:
    value: int = getattr(settings, f"TENANT_{name.upper()}")
    return value


class TenantLimits(models.Model):
    """The columns of a tenant with its limits."""

    requests_per_second = _limit(
        "Requests to the API, over all its keys; ten seconds' worth may come at once.", least=1
    )
    key_checks_per_minute = _limit("Provider keys that it stores, replaces, or has verified or reconciled.", least=1)
    test_events_per_minute = _limit("Test events that it sends to its endpoints.", least=1)
    redeliveries_per_minute = _limit("Requests to send a delivery, or a range of them, once more.", least=1)
    most_credentials = _limit("Provider keys stored at once.")
    most_api_keys = _limit("API keys that are valid at once.")
    most_endpoints = _limit("Webhook endpoints of one mode.")
    most_images = _limit("Pictures stored at once.")
    most_image_bytes = _limit(
        "Bytes of these pictures' files, including what is made of them for providers.",
        field=models.PositiveBigIntegerField,
    )
    most_searches = _limit("Searches stored at once, open and ended ones, until they are erased.")
    most_waiting_lookups = _limit("Lookups that wait at once, for any reason.")
    image_retention_days = _limit(
        "Days for which a picture is kept that no open search needs. 0: only while its search is open."
    )
    result_retention_days = _limit("Days for which results are kept after their search ended. 0: not at all.")
    search_retention_days = _limit("Days after its end at which a search is erased, as by DELETE. 0: when it ends.")

    class Meta:
        abstract = True

    def limit(self, name: str) -> int:
        """Returns the limit in force: the tenant's own, or the default."""
        own: int | None = getattr(self, name)
        return default(name) if own is None else own

    def retention(self, name: str) -> timedelta:
        return timedelta(days=min(self.limit(name), MOST_DAYS))


def meaning(name: str) -> str:
    """Returns what a limit counts, in a sentence."""
    column: Any = TenantLimits._meta.get_field(name)
    return str(column.help_text).removesuffix(OR_DEFAULT)
