"""Lanes, and the tenants' queues in them."""

from __future__ import annotations

from django.db import models
from django.db.models import Q

from accounts.models import Mode, Tenant
from providers import policies
from providers.limiter import LaneLimiter
from providers.models import Policy


class Lane(models.Model):
    """The lookups that share one provider limit: one token bucket in Redis, and the tenant queues here.

    `virtual_time` is that of the last claim, at which idle tenants return. `pauses` decides whether and why a lane is paused.
    """

    name = models.CharField(max_length=120, primary_key=True)
    policy = models.ForeignKey(Policy, models.PROTECT, verbose_name="provider", related_name="lanes")
    mode = models.CharField(max_length=4, choices=Mode.choices)
    virtual_time = models.BigIntegerField(default=0)
    paused_until = models.DateTimeField(null=True, blank=True, help_text="The provider asked us to wait.")
    backoff = models.PositiveSmallIntegerField(default=0, help_text="Times in a row that the lane was told to wait.")
    failures = models.PositiveSmallIntegerField(default=0, help_text="Calls in a row that the provider failed.")
    failing_key = models.CharField(max_length=64, blank=True, help_text="The fingerprint of the first failing key.")
    failing_tenant = models.UUIDField(null=True, blank=True, help_text="The tenant of the first failed call.")
    several = models.BooleanField(default=False, help_text="Another tenant's key has failed since.")
    trips = models.PositiveSmallIntegerField(default=0, help_text="Times in a row that the breaker opened.")
    broken_until = models.DateTimeField(null=True, blank=True, help_text="The breaker is open.")
    probe = models.UUIDField(null=True, blank=True, help_text="The only call while the breaker is half-open.")
    paused = models.BooleanField(default=False, help_text="An operator paused it.")
    claimed_at = models.DateTimeField(null=True, blank=True, help_text="When a lookup was last claimed.")

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @property
    def policy_in_force(self) -> Policy:
        return policies.in_force(self.policy, self.mode)

    @property
    def limiter(self) -> LaneLimiter:
        return policies.lane_limiter(self.name, self.policy_in_force)


class TenantQueue(models.Model):
    """One tenant's queue in one lane: its virtual time, and the counts of its ready lookups and their calls."""

    # Here and below, `db_index=False` where another index begins with the column: every lookup writes these rows.
    lane = models.ForeignKey(Lane, models.CASCADE, related_name="tenant_queues", db_index=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="tenant_queues")
    virtual_time = models.BigIntegerField(default=0)
    ready = models.IntegerField(default=0)
    pending_calls = models.IntegerField(default=0, help_text="The calls that the ready lookups may still take.")
    wake_at = models.DateTimeField(
        null=True, blank=True, help_text="When its first delayed lookup is due, or its rest is over."
    )
    rests_until = models.DateTimeField(null=True, blank=True, help_text="The keys of all its ready lookups rest.")

    class Meta:
        ordering = ("lane", "virtual_time")
        indexes = [
            models.Index(
                fields=["lane", "virtual_time", "tenant"],
                condition=Q(ready__gt=0, rests_until=None),
                name="tenant_queues_by_virtual_time",
            ),
            models.Index(fields=["lane", "wake_at"], condition=Q(wake_at__isnull=False), name="tenant_queues_to_wake"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["lane", "tenant"], name="one_queue_per_tenant_and_lane"),
            models.CheckConstraint(condition=Q(ready__gte=0), name="ready_never_negative"),
        ]

    def __str__(self) -> str:
        return f"{self.tenant_id} in {self.lane_id}"
