"""The tables of webhooks: endpoints, events, deliveries and their attempts."""

from __future__ import annotations

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from accounts.models.api_keys import Mode
from accounts.models.tenants import Tenant, TenantQuerySet


class EventType(models.TextChoices):
    """The types of events. The module that makes one true records it, in the same transaction."""

    SEARCH_SUCCEEDED = "search.succeeded", "all lookups of a search succeeded"
    SEARCH_PARTIAL = "search.partial", "a search ended, and some of its lookups succeeded"
    SEARCH_FAILED = "search.failed", "a search ended, no lookup succeeded, and one failed"
    SEARCH_CANCELED = "search.canceled", "a search ended by being canceled"
    SEARCH_EXPIRED = "search.expired", "a search expired before it had found anything"
    LOOKUP_FINISHED = "lookup.finished", "a lookup ended, with success or without"
    CREDITS_SETTLED = "credits.settled", "the cost of an unknown outcome is known"
    CREDITS_DRIFT_FOUND = "credits.drift_found", "a provider's count differs from what the calls with a key cost"
    CREDITS_THRESHOLD_REACHED = "credits.threshold_reached", "50, 80 or 100 % of a cap or of the last grant are used"
    CREDENTIAL_REJECTED = "credential.rejected", "a provider refuses a key"
    CREDENTIAL_EXHAUSTED = "credential.exhausted", "a key's account is out of the provider's credits"
    ENDPOINT_DISABLED = "endpoint.disabled", "an endpoint was disabled, for its failures or by an operator"
    PING = "ping", "a test event, for one endpoint"


class PresentEndpoints(models.Manager["Endpoint"]):
    """Hides deleted endpoints at once. Deleting their log takes longer."""

    def get_queryset(self) -> TenantQuerySet[Endpoint]:
        return TenantQuerySet["Endpoint"](self.model, using=self._db).filter(deleted_at=None)

    def for_tenant(self, tenant: Tenant) -> TenantQuerySet[Endpoint]:
        return self.get_queryset().for_tenant(tenant)


class Endpoint(models.Model):
    """The URL to which a tenant's events are sent: those caused by keys of its mode, so that no test reaches a live endpoint.

    `slow` and `quiet_until` follow from its last answers: they decide how many deliveries it gets at once, and when it gets none.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="endpoints", db_index=False)
    mode = models.CharField(max_length=4, choices=Mode.choices)
    url = models.CharField(max_length=2048, verbose_name="URL")
    target = models.CharField(max_length=300, editable=False, help_text="The host of the URL.")
    description = models.CharField(max_length=200, blank=True)
    events = models.JSONField(default=list, blank=True, help_text="The types of events that it gets; empty for all.")
    enabled = models.BooleanField(default=True)
    disabled_reason = models.CharField(max_length=200, blank=True, help_text="Why it is disabled, for the tenant.")
    failing_since = models.DateTimeField(null=True, blank=True, help_text="Since when every delivery has failed.")
    last_failed_at = models.DateTimeField(null=True, blank=True, editable=False)
    slow = models.BooleanField(default=True, help_text="Its last answer was slow or missing, or it is new.")
    quiet_until = models.DateTimeField(null=True, blank=True, help_text="The end of a pause that it asked for.")
    sealed = models.BinaryField(editable=False)
    previous_sealed = models.BinaryField(null=True, editable=False)
    previous_until = models.DateTimeField(
        null=True,
        blank=True,
        help_text="Until when deliveries are signed with the secret before the last rotation too.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)
    deleted_at = models.DateTimeField(null=True, editable=False)

    objects = PresentEndpoints()
    # Includes the deleted endpoints whose log `retention` has not deleted yet.
    with_deleted = models.Manager["Endpoint"]()

    class Meta:
        ordering = ("-created_at",)
        indexes = [models.Index(fields=["tenant", "mode"], name="endpoints_of_a_tenant")]
        constraints = [
            models.CheckConstraint(
                condition=Q(enabled=True, disabled_reason="") | Q(enabled=False) & ~Q(disabled_reason=""),
                name="disabled_endpoints_say_why",
            ),
            models.CheckConstraint(
                condition=Q(previous_sealed=None, previous_until=None)
                | Q(previous_sealed__isnull=False, previous_until__isnull=False),
                name="previous_secrets_have_an_end",
            ),
        ]

    def __str__(self) -> str:
        return self.url


class Event(models.Model):
    """An event, with the body that every endpoint is sent on every try. Its id is the `webhook-id`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="events", db_index=False)
    mode = models.CharField(max_length=4, choices=Mode.choices)
    type = models.CharField(max_length=40, choices=EventType.choices)
    reference = models.CharField(
        max_length=60, blank=True, help_text="The subject of the event, if it can be erased: `search:<id>`."
    )
    body = models.TextField(editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = TenantQuerySet["Event"].as_manager()

    class Meta:
        ordering = ("-created_at",)
        indexes = [
            models.Index(fields=["tenant", "mode", "created_at"], name="events_of_a_tenant"),
            models.Index(fields=["created_at"], name="events_by_age"),
            models.Index(fields=["reference"], condition=~Q(reference=""), name="events_about_something"),
        ]

    def __str__(self) -> str:
        return self.type


class Delivery(models.Model):
    """An event on its way to one endpoint.

    A pending delivery is due at `next_attempt_at`. A claim sets that to the end of its lease, so that the delivery of a dead
    worker is due again by itself. `leased_until` identifies the claim. `tries` counts the attempts since the delivery was sent or
    resent, without those that our own end interrupted; `attempt_count` counts all.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        DELIVERED = "delivered"
        FAILED = "failed"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="deliveries", db_index=False)
    event = models.ForeignKey(Event, models.CASCADE, related_name="deliveries", db_index=False)
    endpoint = models.ForeignKey(Endpoint, models.CASCADE, related_name="deliveries", db_index=False)
    state = models.CharField(max_length=9, choices=State.choices, default=State.PENDING)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    leased_until = models.DateTimeField(null=True, blank=True, editable=False)
    tries = models.PositiveSmallIntegerField(default=0, editable=False)
    attempt_count = models.PositiveIntegerField(default=0)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    finished_at = models.DateTimeField(null=True, blank=True)

    objects = TenantQuerySet["Delivery"].as_manager()

    class Meta:
        ordering = ("-id",)
        verbose_name_plural = "deliveries"
        indexes = [
            models.Index(fields=["tenant", "-id"], name="deliveries_of_a_tenant"),
            models.Index(fields=["endpoint", "-id"], name="deliveries_to_an_endpoint"),
            models.Index(fields=["endpoint", "next_attempt_at"], condition=Q(state="pending"), name="deliveries_due"),
            models.Index(fields=["endpoint", "-id"], condition=Q(state="failed"), name="deliveries_failed"),
            models.Index(
                fields=["endpoint", "leased_until"],
                condition=Q(leased_until__isnull=False),
                name="deliveries_under_way",
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["event", "endpoint"], name="one_delivery_per_event_and_endpoint"),
            models.CheckConstraint(
                condition=Q(state="pending", next_attempt_at__isnull=False)
                | ~Q(state="pending") & Q(next_attempt_at=None, leased_until=None),
                name="deliveries_are_due_while_they_are_pending",
            ),
        ]

    def __str__(self) -> str:
        return self.state


class Attempt(models.Model):
    """An attempt to deliver. `cause`: a word for programs, empty if it arrived. `detail`: the same for people."""

    delivery = models.ForeignKey(Delivery, models.CASCADE, related_name="attempts", db_index=False)
    number = models.PositiveIntegerField()
    started_at = models.DateTimeField()
    duration_ms = models.PositiveIntegerField()
    status = models.PositiveSmallIntegerField(null=True, help_text="HTTP status.")
    cause = models.CharField(max_length=40, blank=True)
    detail = models.CharField(max_length=500, blank=True)
    answer = models.TextField(blank=True, help_text="The first kilobyte of the answer's body.")

    class Meta:
        ordering = ("delivery", "number")
        constraints = [
            models.UniqueConstraint(fields=["delivery", "number"], name="attempts_are_numbered_within_a_delivery")
        ]

    def __str__(self) -> str:
        return f"attempt {self.number}: {self.cause or 'delivered'}"
