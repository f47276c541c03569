"""The product's tables: pictures, searches, lookups, and the queues that lookups wait in.

A lookup's `status` is what tenants see, its `queue_state` where it is in its lane. Both move together, by conditional updates in
`queue` (with `claim.sql`), `credential_gate`, `followers` and `completion`. `transitions.sql` has every transition of lookups and
calls with its cause, and makes the database refuse all others.
"""

from __future__ import annotations

from decimal import Decimal
from typing import ClassVar

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from accounts.models import ApiKey, Mode, Tenant, TenantQuerySet
from billing.models import CreditsField
from providers import policies
from providers.limiter import LaneLimiter
from providers.models import Credential, Policy


class Image(models.Model):
    """A tenant's picture, stored once by content: upright, and without metadata."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="images")
    sha256 = models.CharField(max_length=64, help_text="The digest of the file as it was sent.")
    pixels_sha256 = models.CharField(max_length=64, help_text="The digest of the decoded, upright pixels.")
    format = models.CharField(max_length=10)
    width = models.PositiveIntegerField()
    height = models.PositiveIntegerField()
    bytes = models.PositiveIntegerField(help_text="The size of the file as it was sent.")
    file = models.CharField(max_length=200, unique=True, help_text="The file's name in the storage.")
    file_bytes = models.PositiveIntegerField(default=0, help_text="The size of the file as it is stored.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    stored_at = models.DateTimeField(
        db_default=Now(), editable=False, help_text="When it was last uploaded by itself, not for a search."
    )

    objects = TenantQuerySet["Image"].as_manager()

    class Meta:
        ordering = ("-created_at",)
        indexes = [models.Index(fields=["tenant", "stored_at"], name="images_by_age")]
        constraints = [models.UniqueConstraint(fields=["tenant", "sha256"], name="image_stored_once_per_tenant")]

    def __str__(self) -> str:
        return f"{self.format} {self.width}×{self.height}"


class PictureUsage(models.Model):
    """The number of a tenant's stored pictures, and the bytes of their files (`pictures.usage`)."""

    tenant = models.OneToOneField(Tenant, models.CASCADE, primary_key=True, related_name="picture_usage")
    images = models.PositiveIntegerField(default=0)
    bytes = models.PositiveBigIntegerField(default=0)

    def __str__(self) -> str:
        return f"{self.images} pictures, {self.bytes} bytes"


class Rendering(models.Model):
    """A picture fitted to one provider's limits. Its file may be the stored original."""

    image = models.ForeignKey(Image, models.CASCADE, related_name="renderings")
    provider = models.CharField(max_length=40)
    crop = models.CharField(
        max_length=40, blank=True, help_text="The crop of its searches; empty for the whole picture."
    )
    media_type = models.CharField(max_length=20)
    bytes = models.PositiveIntegerField()
    file = models.CharField(max_length=200)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["image", "provider", "crop"], name="one_rendering_per_provider_and_crop")
        ]

    def __str__(self) -> str:
        return f"{self.media_type} for {self.provider}"


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
        ]
        constraints = [
            models.CheckConstraint(
                condition=Q(erased_at=None)
                | Q(erased_at__isnull=False, image=None, crop="", metadata={}, results_count=0),
                name="erased_searches_keep_nothing",
            ),
            models.CheckConstraint(
                condition=Q(image__isnull=False) | Q(finished_at__isnull=False) | Q(erased_at__isnull=False),
                name="open_searches_have_a_picture",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


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
    credits = CreditsField(default=Decimal(0))
    provider_request_id = models.CharField(max_length=100, blank=True)
    error_code = models.CharField(max_length=60, blank=True)
    error_detail = models.CharField(max_length=500, blank=True)
    excerpt = models.TextField(blank=True, help_text="What came instead of a readable answer, for operators.")

    class Meta:
        ordering = ("id",)
        indexes = [models.Index(fields=["leased_until"], condition=Q(state="armed"), name="calls_under_lease")]

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
