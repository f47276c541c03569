"""Alice's searches at a sandbox over real sockets, whose count is compared with hers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4
from wsgiref.types import StartResponse, WSGIEnvironment

import pytest
import redis
from django.db.models import F
from pytest_django import Settings

from accounts import keys
from accounts.models import Mode, Tenant
from billing import ledger
from billing.models import Reading, Reconciliation
from providers import policies, registry
from providers.keyring import credentials
from providers.models import Credential, Policy
from providers.sandbox.routes import Sandbox
from providers.sandbox.settings import SandboxSettings
from searches import pictures
from searches.calls import worker
from searches.models import Call, Lookup
from searches.orders import submission
from searches.orders.order import LookupOrder, Order
from searches.reconciliation import readings
from tests.bench.picture import jpeg
from tests.providers.conftest import served

HOUR = timedelta(hours=1)
KEY = "a-modash-key"
# A page of 20, at 0.025 credits a result.
PAGE = Decimal("0.5")


@dataclass
class Modash:
    """The sandbox's Modash. `loses_answers`: whether searches are billed and their answers lost on the way. `stalls`: whether
    free calls are answered when the caller no longer waits.
    """

    sandbox: Sandbox
    loses_answers: bool = False
    stalls: bool = False

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        is_free = environ["REQUEST_METHOD"] == "GET"
        if is_free and self.stalls:
            time.sleep(1)
        if is_free or not self.loses_answers:
            return self.sandbox(environ, start_response)
        content = b"".join(self.sandbox(environ, start_response))
        return iter([content[: len(content) // 2]])

    def add(self, credits: int, *, key: str = KEY) -> None:
        """Adds credits to the account of a key, as if its owner had bought some."""
        self.sandbox.providers["modash"].meter.tally(key).credits -= credits


Serve = Callable[..., Modash]


@pytest.fixture
def serve(settings: Settings) -> Iterator[Serve]:
    """Returns a function that serves a sandbox with these settings at Modash's address."""
    with ExitStack() as stack:

        def serve(**values: Any) -> Modash:
            modash = Modash(Sandbox(SandboxSettings(calls=1_000_000, latency=0, **values)))
            settings.MODASH_BASE_URL = f"{stack.enter_context(served(modash))}/modash/v1"
            return modash

        yield serve


@pytest.fixture
def brisk(db: None, redis_client: redis.Redis) -> None:
    """Makes lanes without waits, whose logs began long ago."""
    policies.of("modash")
    Policy.objects.update(calls=1000, window_ms=10, guard_ms=0, page_size=20, on_unknown="fail")
    redis_client.flushdb()
    policies.lane_limiter("modash", Policy.objects.get()).pause(seconds=0)
    redis_client.hset("lane:{modash}", "log_began", 0)


@pytest.fixture
def credential(brisk: None, alice: Tenant) -> Credential:
    return credentials.store(alice, "modash", KEY)


def submitted(tenant: Tenant) -> Lookup:
    """Submits a search for 20 creators, which costs `PAGE`, and returns its lookup, which waits."""
    caller = keys.issue(tenant, Mode.LIVE)[0]
    ledger.account_of(tenant, "modash")
    order = Order(lookups=[LookupOrder(source="tiktok-creators", parameters={}, limit=20)])
    with pictures.received(
        tenant, jpeg(), fit={"modash": registry.adapter("tiktok-creators").picture_limits}
    ) as picture:
        return submission.submit(caller, order, picture).search.lookups.get()


def search(tenant: Tenant) -> Lookup:
    """Makes such a search, and returns its lookup as it is after the call."""
    lookup = submitted(tenant)
    worker.run("modash", str(uuid4()))
    lookup.refresh_from_db()
    return lookup


def an_hour_passes() -> None:
    """Moves what has happened so far an hour back, so that it is long over."""
    Call.objects.update(armed_at=F("armed_at") - HOUR, sent_at=F("sent_at") - HOUR, finished_at=F("finished_at") - HOUR)
    Reading.objects.update(asked_at=F("asked_at") - HOUR, answered_at=F("answered_at") - HOUR)


def first_reading(credential: Credential) -> Reading:
    reading = readings.reconcile(credential)
    an_hour_passes()
    return reading


def reconciled(credential: Credential) -> Any:
    """Reconciles an hour later, and returns the comparison."""
    an_hour_passes()
    return Reconciliation.objects.get(closing=readings.reconcile(credential))
