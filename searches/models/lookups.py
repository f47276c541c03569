"""Lookups, with their states in the queues."""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from accounts.models import Tenant, TenantQuerySet
from billing.models import CreditsField
from providers.models import Credential
from searches.models.lanes import Lane
from searches.models.searches import Search, Status


class QueueState(models.TextChoices):
    """A lookup's state in its lane's queues."""

    READY = "ready", "waits for its turn"
    DELAYED = "delayed", "waits for a time"
    BLOCKED = "blocked", "waits for its credential"
    FOLLOWING = "following", "follows an equal lookup"
    NONE = "none", "in no queue: under way, or ended"


class Repeat(models.TextChoices):
    """Whether a lookup calls the provider itself."""

    MISS = "miss", "asks the provider"
    HIT = "hit", "takes an earlier answer"
    COALESCED = "coalesced", "takes the answer of an equal one in progress"


class Lookup(models.Model):
    """One source's part of a search: the unit that is queued, priced, and succeeds or fails.

    `sort_key` orders a tenant's own lookups: priority first, then age, in one number. It stays the same while a lookup leaves its
    queue and returns, but a leader inherits the lowest of its followers'.

    Lookups of one `repeat_key` ask the same (`coalescing.keys`); a lookup without one equals no other. `repeat_of` is the lookup
    whose answer this one takes; that one `has_followers` until all of them are resolved.
    """

    OPEN: ClassVar[tuple[Status, ...]] = (Status.QUEUED, Status.RUNNING)
    ENDED: ClassVar[tuple[Status, ...]] = (Status.SUCCEEDED, Status.FAILED, Status.CANCELED, Status.EXPIRED)
    # The results of its calls so far. They are saved with the queue state, in one statement.
    PROGRESS: ClassVar[tuple[str, ...]] = (
        *("pages_done", "attempts", "unknown_calls"),
        *("result_count", "duplicates", "unreadable", "total"),
    )

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    search = models.ForeignKey(Search, models.CASCADE, related_name="lookups", db_index=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="lookups")
    ordinal = models.PositiveSmallIntegerField()
    source = models.CharField(max_length=40)
    provider = models.CharField(max_length=40)
    credential = models.ForeignKey(Credential, models.SET_NULL, null=True, blank=True, related_name="lookups")
    names_credential = models.BooleanField(default=False, help_text="Its order named the credential.")
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.QUEUED)

    lane = models.ForeignKey(Lane, models.PROTECT, related_name="lookups")
    queue_state = models.CharField(max_length=9, choices=QueueState.choices, default=QueueState.READY)
    sort_key = models.BigIntegerField()
    not_before = models.DateTimeField(null=True, blank=True)
    expires_at = models.DateTimeField()
    cancel_requested = models.BooleanField(default=False)

    repeat = models.CharField(max_length=9, choices=Repeat.choices, default=Repeat.MISS)
    repeat_of = models.ForeignKey(
        "self", models.SET_NULL, null=True, blank=True, related_name="repeats", db_index=False
    )
    repeat_key = models.CharField(max_length=64, blank=True, editable=False)
    has_followers = models.BooleanField(default=False, help_text="Equal lookups wait for its answer, or for its end.")

    parameters = models.JSONField(default=dict, blank=True)
    effective_parameters = models.JSONField(default=dict, blank=True)
    limit = models.PositiveIntegerField(null=True)
    first_page = models.PositiveIntegerField(default=0)
    page_size = models.PositiveSmallIntegerField()
    pages = models.PositiveSmallIntegerField(help_text="The most calls that it may take.")
    pages_done = models.PositiveSmallIntegerField(default=0)
    attempts = models.PositiveSmallIntegerField(default=0, help_text="Failed attempts at the present page.")
    unknown_calls = models.PositiveSmallIntegerField(default=0)

    price_per_call = CreditsField(default=Decimal(0))
    price_per_result = CreditsField(default=Decimal(0))

    result_count = models.PositiveIntegerField(default=0)
    duplicates = models.PositiveIntegerField(default=0)
    unreadable = models.PositiveIntegerField(default=0, help_text="Items that were billed and cannot be identified.")
    total = models.PositiveIntegerField(null=True)
    error_code = models.CharField(max_length=60, blank=True)
    error_detail = models.CharField(max_length=500, blank=True)
    error_retryable = models.BooleanField(default=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    started_at = models.DateTimeField(null=True, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)

    objects = TenantQuerySet["Lookup"].as_manager()

    class Meta:
        ordering = ("search", "ordinal")
        indexes = [
            models.Index(fields=["lane", "tenant", "sort_key"], condition=Q(queue_state="ready"), name="lookups_ready"),
            models.Index(
                fields=["lane", "tenant", "not_before"], condition=Q(queue_state="delayed"), name="lookups_delayed"
            ),
            models.Index(
                fields=["queue_state", "credential", "lane", "sort_key"],
                condition=Q(queue_state__in=["ready", "delayed", "blocked"]),
                name="lookups_by_credential",
            ),
            models.Index(
                fields=["expires_at"],
                condition=Q(queue_state__in=["ready", "delayed", "blocked", "following"]),
                name="lookups_to_expire",
            ),
            models.Index(
                fields=["lane"],
                condition=Q(credential=None, queue_state__in=["ready", "delayed", "blocked"]),
                name="lookups_without_credential",
            ),
            models.Index(
                fields=["repeat_key", "finished_at"],
                condition=Q(repeat="miss", status__in=["queued", "running", "succeeded"]) & ~Q(repeat_key=""),
                name="lookups_to_repeat",
            ),
            models.Index(fields=["repeat_of"], condition=Q(queue_state="following"), name="followers_by_leader"),
            models.Index(
                fields=["tenant"],
                condition=Q(queue_state__in=["delayed", "blocked", "following"]),
                name="lookups_not_ready",
            ),
            # Few of the lookups: a page of one error is no walk through all.
            models.Index(fields=["error_code", "id"], condition=~Q(error_code=""), name="lookups_by_error"),
            models.Index(
                fields=["id"],
                condition=Q(has_followers=True, status__in=["succeeded", "failed", "canceled", "expired"]),
                name="leaders_that_ended",
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["search", "ordinal"], name="one_lookup_per_ordinal_in_search"),
            models.CheckConstraint(
                condition=Q(status__in=["queued", "running"]) | Q(queue_state="none"),
                name="ended_lookups_are_in_no_queue",
            ),
            models.CheckConstraint(
                condition=~Q(queue_state="delayed") | Q(not_before__isnull=False),
                name="delayed_lookups_have_a_time",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.source} {self.status}"

    @property
    def reference(self) -> str:
        """The lookup's name in the ledger."""
        return f"lookup:{self.id}"

    @property
    def calls_left(self) -> int:
        return self.pages - self.pages_done

    def cost_of_call(self, *, results: int) -> Decimal:
        """Returns the credits that a call with so many results costs, at the prices of the submit; 0 in the sandbox."""
        cost: Decimal = self.price_per_call + results * self.price_per_result
        return cost

    @property
    def most_credits_per_call(self) -> Decimal:
        return self.cost_of_call(results=self.page_size)

    @property
    def most_credits(self) -> Decimal:
        return self.pages * self.most_credits_per_call
