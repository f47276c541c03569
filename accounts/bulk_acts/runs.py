"""Does bulk acts row by row, in slices, whichever worker is there.

A row's act, its record and the act's progress are one transaction. A worker that is killed therefore leaves a row whole or
untouched, and the next worker continues behind it. Two workers never act on one row: the progress is written under a lease, and
without it the row's act is rolled back. Stopping is seen in the same place.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

from celery import current_app
from django.apps import apps
from django.contrib import admin
from django.contrib.admin.options import IncorrectLookupParameters
from django.db import transaction
from django.db.models import F, Q
from django.db.models.functions import Now
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from accounts import acts
from accounts.acts import Actor
from accounts.bulk_acts import matching
from accounts.bulk_acts.kinds import BulkKind, Failed, Skipped
from accounts.models import BulkAct, User

log = logging.getLogger(__name__)

QUEUE = "webhooks"
# The other tasks of a worker wait for a slice. The next slice goes on.
SLICE_SECONDS = 10.0
# Longer than one row's act takes, of which asking a provider is the longest.
LEASE = timedelta(seconds=60)
# The operator's permission is asked for anew for so many rows.
BATCH = 20
# A wake-up that no worker took for so long is of no use: the sweep sends another.
EXPIRES_SECONDS = 60
NO_LONGER = "It no longer matched the filter when its turn came."
OURS = "An error of ours, which the log of the workers has."
NOT_ALLOWED = "{} may no longer do this."
UNREADABLE = "The filter can no longer be read."


class Interrupted(Exception):
    """Another worker has the act, or somebody stopped it."""


@transaction.atomic
def start(actor: Actor, kind: BulkKind, page: Any, found: matching.Matching, *, newest: Any, **columns: Any) -> BulkAct:
    """Starts a bulk act on the rows that were found. `columns`: what the operator sent."""
    count, is_more = found.count(newest)
    bulk_act = BulkAct.objects.create(
        operator=actor.operator,
        name=actor.name,
        address=actor.address[:45],
        kind=kind.name,
        object_type=page.model._meta.label_lower,
        tenant=found.tenant,
        filter=found.words,
        newest=str(newest),
        matched=count,
        is_more=is_more,
        **columns,
    )
    number = f"{'more than ' if is_more else ''}{count:,}"
    acts.record(actor, kind.name, bulk_act, reason=bulk_act.reason, detail=f"Started; {number} rows match.")
    transaction.on_commit(partial(wake_up, bulk_act.pk))
    return bulk_act


def stop(bulk_act: BulkAct) -> bool:
    """Asks for an end after the present row. Returns False if it has ended."""
    running = BulkAct.objects.filter(pk=bulk_act.pk, state=BulkAct.State.RUNNING)
    asked = running.update(stop_asked=True) == 1
    transaction.on_commit(partial(wake_up, bulk_act.pk))
    return asked


def sweep() -> None:
    """Wakes up the acts that no worker has."""
    for pk in BulkAct.objects.filter(_free(), state=BulkAct.State.RUNNING).values_list("pk", flat=True):
        wake_up(pk)


def wake_up(pk: UUID) -> None:
    """Sends a message. Never raises; the sweep sends another."""
    try:
        current_app.send_task(
            "accounts.tasks.act_in_bulk", args=[str(pk)], queue=QUEUE, expires=EXPIRES_SECONDS, retry=False
        )
    except (OperationalError, RedisError, OSError):
        log.warning("a bulk act is not announced: the broker is unreachable")


def run(pk: UUID, *, seconds: float = SLICE_SECONDS) -> bool:
    """Does a slice of a bulk act, unless another worker has it. Returns whether rows are left for the next slice."""
    lease = uuid4()
    claimed = BulkAct.objects.filter(_free(), pk=pk, state=BulkAct.State.RUNNING)
    if not claimed.update(lease=lease, leased_until=Now() + LEASE):
        return False
    return _Slice(BulkAct.objects.select_related("operator", "tenant").get(pk=pk), lease).run(seconds)


def _free() -> Q:
    return Q(leased_until=None) | Q(leased_until__lte=Now())


class _Slice:
    """One worker's turn with a bulk act."""

    def __init__(self, bulk_act: BulkAct, lease: UUID) -> None:
        self.bulk_act, self.lease = bulk_act, lease
        page: Any = admin.site._registry[apps.get_model(bulk_act.object_type)]
        self.page = page
        self.kind: BulkKind = next(kind for kind in page.bulk_kinds if kind.name == bulk_act.kind)
        self.actor = Actor(name=bulk_act.name, operator=bulk_act.operator, address=bulk_act.address)

    def run(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        try:
            while time.monotonic() < end:
                if self._batch() < BATCH:
                    self._end(BulkAct.State.ENDED)
                    return False
        except Interrupted:
            return self._stopped()
        self._mine().update(lease=None, leased_until=None)
        return True

    def _batch(self) -> int:
        """Does some rows, if the operator still may and nobody stopped it. Returns how many there were."""
        if not self._mine().filter(stop_asked=False).exists():
            raise Interrupted
        rows = self._rows()
        cursor = {"pk__gt": self.bulk_act.cursor} if self.bulk_act.cursor else {}
        ids = rows.filter(**cursor, pk__lte=self.bulk_act.newest).order_by("pk").values_list("pk", flat=True)
        taken = list(ids[:BATCH])
        for pk in taken:
            self._one(rows, pk)
        return len(taken)

    def _rows(self) -> Any:
        operator = User.objects.filter(bulk_acts=self.bulk_act, is_active=True, is_staff=True).first()
        if operator is None or not operator.has_perm(self.kind.permission):
            self._end_for(NOT_ALLOWED.format(self.bulk_act.name))
            raise Interrupted
        request = matching.request_of(self.bulk_act, operator)
        try:
            return matching.of(self.page, request, self.bulk_act.moment).rows
        except IncorrectLookupParameters:
            self._end_for(UNREADABLE)
            raise Interrupted from None

    def _one(self, rows: Any, pk: Any) -> None:
        row = rows.filter(pk=pk).first()
        if row is None:
            self._note(pk, lambda act: act.note_skipped(NO_LONGER))
            return
        try:
            self.kind.act(row, partial(self._written, row))
        except Interrupted:
            raise
        except Skipped as skipped:
            why = str(skipped)
            self._note(pk, lambda act: act.note_skipped(why))
        except Failed as failed:
            why = str(failed)
            self._note(pk, lambda act: act.note_failed(why))
        except Exception:
            log.exception("a bulk act failed at %s %s", self.bulk_act.object_type, pk)
            self._note(pk, lambda act: act.note_failed(OURS))

    def _written(self, row: Any) -> None:
        """Writes the progress and the record, in the transaction of the row's act. Raises `Interrupted`."""
        mine = self._mine().filter(stop_asked=False)
        if not mine.update(done=F("done") + 1, cursor=str(row.pk), leased_until=Now() + LEASE):
            raise Interrupted
        self.bulk_act.cursor = str(row.pk)
        acts.record(self.actor, self.kind.name, row, reason=self.bulk_act.reason, bulk_act=self.bulk_act)

    @transaction.atomic
    def _note(self, pk: Any, count: Callable[[BulkAct], None]) -> None:
        """Counts a row that was not done, and moves the cursor behind it. Raises `Interrupted`."""
        mine = self._mine().filter(stop_asked=False).select_for_update(no_key=True).first()
        if mine is None:
            raise Interrupted
        count(mine)
        mine.cursor = str(pk)
        mine.leased_until = Now() + LEASE
        mine.save(update_fields=["skipped", "failed", "cursor", "leased_until"])
        self.bulk_act.cursor = mine.cursor

    def _mine(self) -> Any:
        return BulkAct.objects.filter(pk=self.bulk_act.pk, lease=self.lease, state=BulkAct.State.RUNNING)

    def _stopped(self) -> bool:
        """Ends the act if somebody asked for it. Another worker's act is left alone."""
        if self._mine().filter(stop_asked=True).exists():
            self._end_for("An operator stopped it.")
        return False

    def _end_for(self, note: str) -> None:
        self._end(BulkAct.State.STOPPED, note)

    @transaction.atomic
    def _end(self, state: BulkAct.State, note: str = "") -> None:
        mine = self._mine().select_for_update(no_key=True).first()
        if mine is None:
            return
        mine.state, mine.note, mine.finished_at = state, note, Now()
        mine.lease = mine.leased_until = None
        mine.save(update_fields=["state", "note", "finished_at", "lease", "leased_until"])
        detail = f"{state.label}: {mine.outcome}. {note}".strip()
        acts.record(self.actor, self.kind.name, mine, reason=mine.reason, detail=detail)
