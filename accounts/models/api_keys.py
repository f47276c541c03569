"""The tables of API keys and of their former secrets, with the modes and the scopes that keys have."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.utils import timezone
from uuid_utils.compat import uuid7

from accounts.models.tenants import Tenant, TenantQuerySet


class Mode(models.TextChoices):
    """The two kinds of keys and of their searches: live ones ask the providers, test ones the sandbox, which costs nothing."""

    LIVE = "live"
    TEST = "test"


class Scope(models.TextChoices):
    """The parts of the API that a key may use. Each view names, for each method, the scope that it needs."""

    SEARCHES_READ = "searches:read", "read searches, results, calls, pictures, sources and dictionaries"
    SEARCHES_WRITE = "searches:write", "create, quote, cancel, retry and erase searches; store and delete pictures"
    CREDENTIALS_MANAGE = "credentials:manage", "list, store, check, change and delete provider keys"
    BILLING_READ = "billing:read", "read credits, entries, usage and statements"
    WEBHOOKS_MANAGE = "webhooks:manage", "manage webhook endpoints, and resend deliveries"
    KEYS_MANAGE = "keys:manage", "list, create, change, rotate and revoke API keys"


def all_scopes() -> list[str]:
    return list(Scope.values)


class ApiKey(models.Model):
    """A tenant's secret for our API. Only its digest is kept; the secret is shown once, when it is made."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="api_keys")
    label = models.CharField(max_length=100, blank=True)
    mode = models.CharField(max_length=4, choices=Mode.choices)
    scopes = models.JSONField(default=all_scopes, blank=True, help_text="What requests with the key may do.")
    allowed_networks = models.JSONField(
        default=list, blank=True, help_text="The networks from which the key is taken; empty for all."
    )
    prefix = models.CharField(max_length=20, editable=False, help_text="The beginning of the secret, for people.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    ancestors = ArrayField(
        models.UUIDField(),
        default=list,
        editable=False,
        help_text="The key that made it over the API, after those that made that one. It counts under their caps too.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True, help_text="From when on the key is refused; empty: never.")
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["ApiKey"].as_manager()

    # No column: the plain secret of a key that was just issued, for the one answer that shows it.
    secret: str
    # No column: until when the secret is valid by which the key was found, if a rotation has replaced it.
    former_until: datetime | None = None

    class Meta:
        ordering = ("-created_at",)
        verbose_name = "API key"
        # For operators, who see how a key begins. It serves LIKE, whatever the database's collation.
        indexes = [models.Index(fields=["prefix"], opclasses=["varchar_pattern_ops"], name="api_keys_by_prefix")]

    def __str__(self) -> str:
        return f"{self.prefix}…"

    @property
    def created_by(self) -> UUID | None:
        """Returns the id of the key that made it; None if an operator did."""
        return self.ancestors[-1] if self.ancestors else None

    @property
    def state(self) -> str:
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at is not None and self.expires_at <= timezone.now() else "valid"

    @staticmethod
    def is_valid_now() -> Q:
        """Returns the condition of keys that are neither revoked nor expired."""
        return Q(revoked_at=None) & (Q(expires_at=None) | Q(expires_at__gt=Now()))


class FormerSecret(models.Model):
    """The digest of a secret that a rotation replaced. The secret is valid until the end of the overlap."""

    api_key = models.ForeignKey(ApiKey, models.CASCADE, related_name="former_secrets")
    digest = models.CharField(max_length=64, unique=True)
    valid_until = models.DateTimeField()

    def __str__(self) -> str:
        return f"until {self.valid_until}"
