"""Counts of calls and searches by minute and hour, so that a page reads few rows and counts none (`searches.rollups`)."""

from __future__ import annotations

from django.contrib.postgres.fields import ArrayField
from django.db import models

from accounts.models import Mode, Tenant
from searches.models.lanes import Lane

# The upper bounds of the classes of latency, in milliseconds. Slower answers are in one more class.
LATENCY_BOUNDS_MS = (100, 200, 300, 500, 750, 1000, 1500, 2000, 3000, 5000, 10_000, 30_000)


class LaneCalls(models.Model):
    """Calls of one lane that have ended, by the time at which they were sent, or claimed if they were never sent.

    `refusals` are calls that the provider told to wait, `failures` all others that failed, `unknown` those whose outcome is
    unknown. The rest was answered.
    """

    lane = models.ForeignKey(Lane, models.CASCADE, related_name="+", db_index=False)
    start = models.DateTimeField()
    calls = models.PositiveIntegerField()
    unsent = models.PositiveIntegerField(
        help_text="Those that failed before the first byte, and used none of the limit."
    )
    refusals = models.PositiveIntegerField()
    failures = models.PositiveIntegerField()
    unknown = models.PositiveIntegerField()
    latencies = ArrayField(models.PositiveIntegerField(), help_text="The answered calls by `LATENCY_BOUNDS_MS`.")

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.calls} calls of {self.lane_id} from {self.start:%Y-%m-%d %H:%M}"


class LaneMinute(LaneCalls):
    """The calls of a lane in one minute, and the last sample of its queues in it.

    A lane without calls or lookups has no row. `waiting` counts the lookups that are ready for a call, `running` the calls under
    way, and `oldest_at` is when the oldest ready lookup was submitted. They are empty if no sample found any; `SampledMinute`
    says whether there was a sample.
    """

    counted_at = models.DateTimeField()
    waiting = models.PositiveIntegerField(null=True)
    running = models.PositiveIntegerField(null=True)
    oldest_at = models.DateTimeField(null=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["start", "lane"], name="one_count_per_lane_and_minute")]


class LaneHour(LaneCalls):
    """The calls of a lane in one hour, added up from its minutes, which are deleted sooner."""

    most_waiting = models.PositiveIntegerField(null=True, help_text="The most that a sample found; empty without one.")

    class Meta:
        constraints = [models.UniqueConstraint(fields=["start", "lane"], name="one_count_per_lane_and_hour")]


class LaneShare(models.Model):
    """The calls of one tenant in one lane, in a stretch of `calls.SHARE` minutes."""

    lane = models.ForeignKey(Lane, models.CASCADE, related_name="+", db_index=False)
    tenant = models.ForeignKey(Tenant, models.CASCADE, related_name="+")
    start = models.DateTimeField()
    calls = models.PositiveIntegerField()
    counted_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["lane", "start", "tenant"], name="one_share_per_lane_tenant_and_stretch")
        ]

    def __str__(self) -> str:
        return f"{self.calls} calls of {self.tenant_id} in {self.lane_id}"


class SampledMinute(models.Model):
    """A minute in which the lanes' queues were sampled. A minute without a row is unknown, and not a minute without lookups."""

    start = models.DateTimeField(primary_key=True)
    sampled_at = models.DateTimeField()

    def __str__(self) -> str:
        return f"sampled at {self.sampled_at:%Y-%m-%d %H:%M:%S}"


class SearchHour(models.Model):
    """Counts the outcomes of the searches of one hour and mode. `open` counts those that have not ended."""

    start = models.DateTimeField()
    mode = models.CharField(max_length=4, choices=Mode.choices)
    counted_at = models.DateTimeField()
    open = models.PositiveIntegerField()
    succeeded = models.PositiveIntegerField()
    partial = models.PositiveIntegerField()
    failed = models.PositiveIntegerField()
    canceled = models.PositiveIntegerField()
    expired = models.PositiveIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["start", "mode"], name="one_count_per_hour_and_mode")]

    def __str__(self) -> str:
        return f"{self.mode} searches from {self.start:%Y-%m-%d %H:%M}"
