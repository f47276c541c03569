"""Who asks: the operators of the deployment, the tenants, and the keys that tenants' programs hold.

A tenant's rows are reached through `for_tenant`, so that a query that forgets whose rows it reads stands out.
"""

from __future__ import annotations

from typing import ClassVar, Self, TypeVar
from uuid import UUID

from django.contrib.auth.models import AbstractUser
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

M = TypeVar("M", bound=models.Model)


class User(AbstractUser):
    """An operator, who signs in to the admin. Tenants have API keys, not users."""


class TenantQuerySet(models.QuerySet[M]):
    """Rows that belong to one tenant each."""

    def for_tenant(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)


class Tenant(models.Model):
    """A company that uses Sightline; owner of every row but policies and prices."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    name = models.CharField(max_length=200, unique=True)
    weight = models.PositiveSmallIntegerField(
        default=1,
        validators=[MinValueValidator(1), MaxValueValidator(1000)],
        help_text="Its share of a busy lane, relative to the other tenants. Acts at once, on waiting lookups too.",
    )
    suspended_at = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Since when its API keys are refused and its waiting lookups stand still.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    # What Django REST framework asks of a request's user: whoever came with a good key is one.
    is_authenticated: ClassVar[bool] = True

    class Meta:
        ordering = ("name",)
        constraints = [
            models.CheckConstraint(
                condition=models.Q(weight__gte=1, weight__lte=1000), name="tenant_weight_between_1_and_1000"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def find(cls, id_or_name: str) -> Tenant | None:
        """As operators name one on a command line."""
        try:
            return cls.objects.filter(pk=UUID(id_or_name)).first()
        except ValueError:
            return cls.objects.filter(name=id_or_name).first()


class Mode(models.TextChoices):
    """What a key's searches touch: the providers themselves, or the sandbox that plays them for nothing."""

    LIVE = "live"
    TEST = "test"


class ApiKey(models.Model):
    """A tenant's secret for our API. Only its digest is kept; the secret is shown once, when it is made."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="api_keys")
    label = models.CharField(max_length=100, blank=True)
    mode = models.CharField(max_length=4, choices=Mode.choices)
    prefix = models.CharField(max_length=20, editable=False, help_text="How the secret begins, to tell keys apart.")
    digest = models.CharField(max_length=64, unique=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    last_used_at = models.DateTimeField(null=True, editable=False)
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["ApiKey"].as_manager()

    class Meta:
        ordering = ("-created_at",)
        verbose_name = "API key"

    def __str__(self) -> str:
        return f"{self.prefix}…"
