"""Sums of charges by day, kept with each charge so that a report adds few rows."""

from __future__ import annotations

from django.db import models

from billing.models.accounts import Account, CreditsField


class UsageCount(models.Model):
    """Sums the charges of one account in one UTC day. Only `usage.sql` writes the rows, in the transaction of the charge."""

    account = models.ForeignKey(Account, models.PROTECT, related_name="+", db_index=False)
    day = models.DateField(help_text="In UTC, by the time of the entry.")
    source = models.CharField(max_length=40, blank=True)
    api_key = models.CharField(max_length=36, blank=True, help_text="An id.")
    charged = CreditsField()
    charges = models.PositiveBigIntegerField()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.day} {self.source}: {self.charged}"


class Usage(UsageCount):
    """The charges of a day, a source and an API key."""

    class Meta:
        verbose_name_plural = "usage"
        constraints = [
            models.UniqueConstraint(
                fields=["account", "day", "source", "api_key"], name="one_usage_per_day_source_and_key"
            )
        ]


class UsageByMetadata(UsageCount):
    """Sums the charges of a day, a source, an API key and one set of metadata: a day has a row for each different set.

    A row has the whole set, so that a report can combine any of its keys. `Usage` is kept beside it, because a tenant may put
    another number into the metadata of each search. Reports without metadata would have to add all those rows.
    """

    metadata = models.JSONField()
    digest = models.BinaryField(max_length=32, help_text="The SHA-256 of the metadata's text.")

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["account", "day", "source", "api_key", "digest"], name="one_usage_per_day_and_metadata"
            )
        ]
