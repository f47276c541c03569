"""The table of tenants, and the rows of which each belongs to one.

A tenant's rows are reached through `for_tenant`, so that a query without it is noticed.
"""

from __future__ import annotations

from typing import ClassVar, Self, TypeVar
from uuid import UUID

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models.functions import Collate, Now, Upper
from uuid_utils.compat import uuid7

from accounts.limits import TenantLimits

M = TypeVar("M", bound=models.Model)

# Thirty days, in seconds. An older answer is of no use.
MOST_MAX_AGE = 2_592_000


class TenantQuerySet(models.QuerySet[M]):
    """Rows of which each belongs to one tenant."""

    def for_tenant(self, tenant: Tenant) -> Self:
        return self.filter(tenant=tenant)


class Tenant(TenantLimits):
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
        help_text="Since when its API keys are refused and its waiting lookups are held back.",
    )
    max_age = models.PositiveIntegerField(
        default=3600,
        validators=[MaxValueValidator(MOST_MAX_AGE)],
        help_text="Seconds. A lookup is answered by an equal one of at most this age, or follows one in progress, unless its "
        "order says otherwise. 0: the provider is always asked.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    # Django REST framework reads this of a request's user. A tenant is one only with a valid key.
    is_authenticated: ClassVar[bool] = True

    class Meta:
        ordering = ("name",)
        # For operators, who type how a name begins. In this collation it serves LIKE.
        indexes = [models.Index(Collate(Upper("name"), "C"), name="tenants_by_name")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(weight__gte=1, weight__lte=1000), name="tenant_weight_between_1_and_1000"
            )
        ]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def find(cls, id_or_name: str) -> Tenant | None:
        """Returns a tenant by its id or its name, as operators type it on a command line."""
        try:
            return cls.objects.filter(pk=UUID(id_or_name)).first()
        except ValueError:
            return cls.objects.filter(name=id_or_name).first()
