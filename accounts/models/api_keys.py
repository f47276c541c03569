"""The table of API keys, and their modes."""

from __future__ import annotations

from django.db import models
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from accounts.models.tenants import Tenant, TenantQuerySet


class Mode(models.TextChoices):
    """Returns whether searches ask the providers, or the sandbox, which costs nothing."""

    LIVE = "live"
    TEST = "test"


class ApiKey(models.Model):
    """A tenant's secret for our API. Only its digest is kept; the secret is shown once, when it is made."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="api_keys")
    label = models.CharField(max_length=100, blank=True)
    mode = models.CharField(max_length=4, choices=Mode.choices)
    prefix = models.CharField(max_length=20, editable=False, help_text="The beginning of the secret, for people.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["ApiKey"].as_manager()

    # No column: the plain secret of a key that was just issued, for the one answer that shows it.
    secret: str

    class Meta:
        ordering = ("-created_at",)
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.prefix}…"
