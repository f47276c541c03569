"""Outcomes of the ledger's audit, one a day, so that a difference is seen by who looks and not only by who asks."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7


class LedgerAudit(models.Model):
    """One day's audit (`billing.audit`). Without `finished_at` it is under way, or its worker ended before it."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    day = models.DateField(unique=True, help_text="In UTC.")
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    entries = models.PositiveBigIntegerField(default=0, help_text="The entries that the balances were rebuilt from.")
    differences = models.PositiveIntegerField(default=0)
    sentences = ArrayField(models.TextField(), default=list, help_text="The first differences, a sentence each.")

    class Meta:
        ordering = ("-id",)
        indexes = [models.Index(fields=["-id"], condition=Q(differences__gt=0), name="audits_that_failed")]

    def __str__(self) -> str:
        return f"audit of {self.day}"

    @property
    def outcome(self) -> str:
        if self.finished_at is None:
            return "not finished"
        return "failed" if self.differences else "passed"
