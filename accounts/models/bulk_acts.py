"""The table of bulk acts: acts on all rows that match a list's filter, done row by row in the background."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from accounts.models.tenants import Tenant


class BulkAct(models.Model):
    """An act on all rows that matched a list's filter when it was started.

    `query` is the list's address behind the question mark, read as of `moment`. Rows with an id above `newest` arrived later and
    are left alone. Rows are taken in the order of their ids; those up to `cursor` are done with. A worker has the act under a
    lease, and `lease` identifies its claim.
    """

    class State(models.TextChoices):
        RUNNING = "running"
        STOPPED = "stopped"
        ENDED = "ended"

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    operator = models.ForeignKey(settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="bulk_acts")
    name = models.CharField(max_length=150, help_text="The operator's name.")
    address = models.CharField(max_length=45, blank=True)
    kind = models.CharField(max_length=40)
    object_type = models.CharField(max_length=100)
    tenant = models.ForeignKey(Tenant, models.SET_NULL, null=True, blank=True, related_name="bulk_acts")
    reason = models.CharField(max_length=500)
    query = models.TextField(blank=True)
    filter = models.TextField(help_text="The filter in words.")
    moment = models.DateTimeField()
    newest = models.CharField(max_length=255)
    cursor = models.CharField(max_length=255, blank=True)
    matched = models.PositiveIntegerField(help_text="The rows that matched at the start, counted up to a bound.")
    is_more = models.BooleanField(default=False, help_text="More rows matched than were counted.")
    state = models.CharField(max_length=7, choices=State.choices, default=State.RUNNING)
    stop_asked = models.BooleanField(default=False)
    done = models.PositiveIntegerField(default=0)
    skipped = models.JSONField(default=dict, blank=True, help_text="Why, and how many.")
    failed = models.JSONField(default=dict, blank=True, help_text="Why, and how many.")
    note = models.CharField(max_length=200, blank=True, help_text="Why it was stopped.")
    lease = models.UUIDField(null=True, editable=False)
    leased_until = models.DateTimeField(null=True, editable=False)
    finished_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering = ("-id",)
        indexes = [
            models.Index(fields=["id"], condition=Q(state="running"), name="bulk_acts_that_run"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.object_type.rpartition('.')[2]} ({self.filter})"[:200]

    @property
    def skipped_count(self) -> int:
        return sum(self.skipped.values())

    @property
    def failed_count(self) -> int:
        return sum(self.failed.values())

    @property
    def seen(self) -> int:
        """Returns the number of rows that it is done with."""
        return self.done + self.skipped_count + self.failed_count

    @property
    def outcome(self) -> str:
        """Returns what became of the rows, in a line."""
        counts = f"{self.done:,} done, {self.skipped_count:,} skipped, {self.failed_count:,} failed"
        return f"{counts}, of {'more than ' if self.is_more else ''}{self.matched:,} that matched"

    def note_skipped(self, why: str) -> None:
        _count(self.skipped, why)

    def note_failed(self, why: str) -> None:
        _count(self.failed, why)


# The reasons that one act tells apart. Others are counted together.
MOST_REASONS = 20


def _count(reasons: Any, why: str) -> None:
    known = why if why in reasons or len(reasons) < MOST_REASONS else "For other reasons."
    reasons[known] = reasons.get(known, 0) + 1
