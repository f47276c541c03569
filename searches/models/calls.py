"""Calls to providers, and the results that they brought."""

from __future__ import annotations

from decimal import Decimal

from django.contrib.postgres.indexes import HashIndex
from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from uuid_utils.compat import uuid7

from billing.models import CreditsField
from searches.models.lookups import Lookup
from searches.models.searches import Search


class Call(models.Model):
    """One HTTP request to a provider: one page of a lookup, without picture or key.

    A claim creates it as `armed` under a lease, before it is known whether it will be sent. If it is still `armed` at the end of
    its lease, its worker is gone. A call whose slot was not used is deleted. A call that failed before its first byte, without a
    connection or a key, is kept without `sent_at`: it says why the lookup waits or failed.
    """

    class State(models.TextChoices):
        ARMED = "armed", "claimed, and perhaps sent"
        ANSWERED = "answered"
        FAILED = "failed"
        UNKNOWN = "unknown", "sent, and its outcome is unknown"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    lookup = models.ForeignKey(Lookup, models.CASCADE, related_name="calls")
    page = models.PositiveIntegerField()
    state = models.CharField(max_length=8, choices=State.choices, default=State.ARMED)
    armed_at = models.DateTimeField()
    leased_until = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, help_text="Empty if no byte was sent.")
    finished_at = models.DateTimeField(null=True)
    status = models.PositiveSmallIntegerField(null=True, help_text="HTTP status.")
    returned = models.PositiveIntegerField(null=True)
    unreadable = models.PositiveIntegerField(default=0, help_text="Items that were returned and cannot be identified.")
    credits = CreditsField(default=Decimal(0), help_text="What it was charged.")
    overbilled = CreditsField(
        default=Decimal(0), help_text="What the provider billed above the hold. It is charged to nobody."
    )
    unknown = CreditsField(default=Decimal(0), help_text="The most that it may have cost, if that is unknown.")
    key_fingerprint = models.CharField(
        max_length=16,
        blank=True,
        editable=False,
        help_text="The beginning of its key's fingerprint; empty in the sandbox.",
    )
    provider_request_id = models.CharField(max_length=100, blank=True)
    error_code = models.CharField(max_length=60, blank=True)
    error_detail = models.CharField(max_length=500, blank=True)
    excerpt = models.TextField(blank=True, help_text="What came instead of a readable answer, for operators.")

    class Meta:
        ordering = ("id",)
        indexes = [
            models.Index(fields=["leased_until"], condition=Q(state="armed"), name="calls_under_lease"),
            # Operators have a provider's request id, from the provider's support, and look for its call.
            HashIndex(
                fields=["provider_request_id"], condition=~Q(provider_request_id=""), name="calls_by_provider_request"
            ),
            # Few of the calls: a page of one error is no walk through all.
            models.Index(fields=["error_code", "id"], condition=~Q(error_code=""), name="calls_by_error"),
        ]

    def __str__(self) -> str:
        return f"page {self.page} {self.state}"


class Result(models.Model):
    """One stored hit. `rank` orders a lookup's results, `sequence` those of a search by arrival."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    search = models.ForeignKey(Search, models.CASCADE, related_name="results", db_index=False)
    lookup = models.ForeignKey(Lookup, models.CASCADE, related_name="results", db_index=False)
    rank = models.PositiveIntegerField()
    sequence = models.PositiveIntegerField()
    type = models.CharField(max_length=10)
    external_id = models.CharField(max_length=200)
    title = models.CharField(max_length=500, blank=True)
    url = models.URLField(max_length=2000, null=True)  # noqa: DJ001 - null says "none"; the API shows it as null
    image_url = models.URLField(max_length=2000, null=True)  # noqa: DJ001
    media_expires_at = models.DateTimeField(null=True)
    score = models.FloatField(null=True)
    detail = models.JSONField(default=dict, encoder=DjangoJSONEncoder)
    raw = models.JSONField(default=dict)
    observed_at = models.DateTimeField()

    class Meta:
        ordering = ("lookup", "rank")
        constraints = [
            models.UniqueConstraint(fields=["lookup", "external_id"], name="one_result_per_external_id"),
            models.UniqueConstraint(fields=["search", "sequence"], name="one_result_per_sequence"),
            models.UniqueConstraint(fields=["lookup", "rank"], name="one_result_per_rank"),
        ]

    def __str__(self) -> str:
        return self.title or self.external_id
