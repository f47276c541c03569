"""Searches, and the states that they and their lookups have for tenants."""

from __future__ import annotations

from django.contrib.postgres.indexes import HashIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from accounts.models import ApiKey, Mode, Tenant, TenantQuerySet
from searches.models.pictures import Image


class Status(models.TextChoices):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PARTIAL = "partial"
    FAILED = "failed"
    CANCELED = "canceled"
    EXPIRED = "expired"


class Search(models.Model):
    """A tenant's request: one picture, and one or more lookups.

    An ended search loses its picture and its results when their retention is over. An erased search is a tombstone: its row and
    those of its lookups and calls stay, for the ledger's entries name them, without what was asked or found.

    `version` counts the changes that a tenant can see, except those of positions and leaders.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="searches", db_index=False)
    api_key = models.ForeignKey(ApiKey, models.SET_NULL, null=True, related_name="searches")
    mode = models.CharField(max_length=4, choices=Mode.choices)
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED)
    version = models.PositiveIntegerField(default=1)
    image = models.ForeignKey(Image, models.PROTECT, null=True, related_name="searches")
    crop = models.CharField(
        max_length=40, blank=True, help_text="x, y, width and height in millionths; empty for the whole picture."
    )
    priority = models.SmallIntegerField(default=0)
    metadata = models.JSONField(default=dict, blank=True)
    max_credits = models.JSONField(
        default=dict, blank=True, help_text="The most that it may hold and cost, by provider."
    )
    results_count = models.PositiveIntegerField(default=0)
    max_age = models.PositiveIntegerField(
        null=True, help_text="Seconds; the age of an equal lookup's answer that it took. Empty: the tenant's setting."
    )
    retry_of = models.ForeignKey(
        "self",
        models.SET_NULL,
        null=True,
        related_name="retries",
        db_index=False,
        help_text="The search whose failed lookups it asks once more.",
    )
    request_id = models.CharField(
        max_length=100, blank=True, help_text="The X-Request-Id of the request that made it, until it is erased."
    )
    expires_at = models.DateTimeField(help_text="When the lookups that still wait expire.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)
    results_erased_at = models.DateTimeField(
        null=True, editable=False, help_text="When the tenant's retention of results was over."
    )
    erased_at = models.DateTimeField(null=True, editable=False)

    objects = TenantQuerySet["Search"].as_manager()

    class Meta:
        ordering = ("-created_at", "-id")
        verbose_name_plural = "searches"
        indexes = [
            models.Index(fields=["tenant", "mode", "-created_at", "-id"], name="searches_of_a_tenant"),
            models.Index(
                fields=["tenant", "finished_at"],
                condition=Q(erased_at=None, finished_at__isnull=False),
                name="searches_to_erase",
            ),
            models.Index(
                fields=["tenant", "finished_at"],
                condition=Q(results_erased_at=None, finished_at__isnull=False),
                name="searches_with_results",
            ),
            models.Index(fields=["retry_of"], condition=Q(retry_of__isnull=False), name="searches_by_first"),
            # Operators have a request's id and look for its search. Hash indexes keep 4 bytes of a text instead of all.
            HashIndex(fields=["request_id"], condition=~Q(request_id=""), name="searches_by_request"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(erased_at=None)
                | Q(erased_at__isnull=False, image=None, crop="", metadata={}, request_id="", results_count=0),
                name="erased_searches_keep_nothing",
            ),
            models.CheckConstraint(
                condition=Q(image__isnull=False) | Q(finished_at__isnull=False) | Q(erased_at__isnull=False),
                name="open_searches_have_a_picture",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class SearchUsage(models.Model):
    """The number of a tenant's stored searches, erased ones not included (`lifecycle.stored_searches`)."""

    tenant = models.OneToOneField(Tenant, models.CASCADE, primary_key=True, related_name="search_usage")
    searches = models.PositiveIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.searches} searches"
