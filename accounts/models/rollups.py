"""Counts that are kept by hour, so that a page reads few rows where it would count many (`accounts.rollups`)."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models


class RollupProgress(models.Model):
    """How far one kind of rows has been counted: every instant from `since` to `until` was, and none after it.

    A page shows what lies outside as unknown, never as 0. `again` has the hours before `until` whose rows may still change.
    """

    name = models.CharField(max_length=40, primary_key=True)
    since = models.DateTimeField()
    until = models.DateTimeField()
    again = ArrayField(models.DateTimeField(), default=list)

    def __str__(self) -> str:
        return f"{self.name} until {self.until:%Y-%m-%d %H:%M:%S}"


class DeliveryHour(models.Model):
    """Counts the outcomes of the deliveries that were recorded in one hour."""

    start = models.DateTimeField(primary_key=True)
    counted_at = models.DateTimeField()
    pending = models.PositiveIntegerField()
    delivered = models.PositiveIntegerField()
    failed = models.PositiveIntegerField()
    retried = models.PositiveIntegerField(help_text="Those of `delivered` that took more than one attempt.")
    seconds = models.FloatField(help_text="From the event to its arrival, added up over `delivered`.")

    def __str__(self) -> str:
        return f"{self.delivered} delivered in the hour of {self.start:%Y-%m-%d %H:%M}"
