"""The table of idempotency keys: requests that a tenant may send again without doing twice what they do."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from accounts.models.api_keys import Mode
from accounts.models.tenants import Tenant, TenantQuerySet


class IdempotencyKey(models.Model):
    """A request that was sent with an `Idempotency-Key`: in work until `leased_until`, or done with a `status`.

    `id` names the claim, and changes when another request takes the key over. Neither the key nor the body is kept, but
    digests of them. `made`: the object whose present state answers a replay; without it, `sealed` has the answer.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="idempotency_keys", db_index=False)
    mode = models.CharField(max_length=4, choices=Mode.choices)
    key = models.CharField(max_length=64, help_text="SHA-256 of the key.")
    fingerprint = models.CharField(max_length=64, help_text="HMAC of the request, under the key.")
    leased_until = models.DateTimeField(null=True)
    status = models.PositiveSmallIntegerField(null=True, help_text="The HTTP status of the answer.")
    made = models.UUIDField(null=True)
    sealed = models.BinaryField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    expires_at = models.DateTimeField()

    objects = TenantQuerySet["IdempotencyKey"].as_manager()

    class Meta:
        indexes = [models.Index(fields=["expires_at"], name="idempotency_keys_by_expiry")]
        constraints = [
            models.UniqueConstraint(fields=["tenant", "mode", "key"], name="one_row_per_idempotency_key"),
            models.CheckConstraint(
                condition=Q(leased_until__isnull=False, status=None, made=None, sealed=None)
                | Q(leased_until=None, status__isnull=False, made__isnull=False, sealed=None)
                | Q(leased_until=None, status__isnull=False, made=None, sealed__isnull=False),
                name="idempotency_keys_are_leased_or_done",
            ),
        ]

    def __str__(self) -> str:
        return self.key[:12]
