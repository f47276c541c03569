"""What each answer of Memories' documents leaves behind, for a live key: the lookup, the credential, the lane and the money."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
import redis
from pytest_django import Settings

from accounts import keys
from accounts.models import Mode, Tenant
from billing import audit, ledger
from providers import credentials, policies, registry
from providers.models import Credential, Policy
from searches import execution, intake, pictures, scheduler
from searches.intake import LookupOrder, Order
from searches.models import Call, Lane, Lookup, Place, Standing
from tests.bench.picture import jpeg
from tests.providers.conftest import Provider
from tests.providers.test_memories import ANSWER, FIRST, SECOND

pytestmark = pytest.mark.django_db
SOURCES = pytest.mark.parametrize("source", ["public-videos", "private-videos"])
Submit = Callable[[str], Lookup]


@dataclass(frozen=True, kw_only=True)
class Left:
    """`lookup`: its status and error, or where it waits. `money`: held, charged, unknown."""

    lookup: str
    credential: str = "unknown"
    attempts: int = 0
    paused: bool = False
    money: tuple[float, float, float]


HELD, CHARGED, UNKNOWN, FREE = (1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)
REFUSED = Left(lookup="failed refused", money=FREE)
DEAD_KEY = Left(lookup="parked", credential="invalid", money=HELD)
NO_CREDITS = Left(lookup="parked", credential="exhausted", money=HELD)
LATER = Left(lookup="asleep", attempts=1, money=HELD)
TOO_SOON = Left(lookup="ready", paused=True, money=HELD)
# What is documented, by its code; each is sent at HTTP 200 and at the status beside it.
DOCUMENTED = [
    ("0001", 400, REFUSED),
    ("0003", 400, REFUSED),
    ("0401", 401, DEAD_KEY),
    ("0402", 402, NO_CREDITS),
    ("0403", 403, DEAD_KEY),
    ("0409", 409, LATER),
    ("0429", 429, TOO_SOON),
    ("9009", 403, Left(lookup="failed permission_denied", money=FREE)),
]
# And what comes without a code that says it.
OTHERS: list[tuple[int, Any, Left]] = [
    (200, {"code": "7777", "msg": "…", "failed": True}, REFUSED),
    (500, {"code": "7777", "msg": "…"}, LATER),
    (401, b"", DEAD_KEY),
    (402, b"", NO_CREDITS),
    (403, b"<html>", REFUSED),
    (429, b"", TOO_SOON),
    (500, b"", LATER),
    (503, b"<html>", LATER),
    (302, b"", Left(lookup="failed unreadable_answer", money=FREE)),
    # They take it for a success, and bill it.
    (200, ANSWER | {"data": [FIRST, 7]}, Left(lookup="failed unreadable_answer", money=CHARGED)),
    (200, ANSWER | {"data": "none"}, Left(lookup="failed unreadable_answer", money=CHARGED)),
    # Nobody can tell.
    (200, b'{"code": "0000", "da', Left(lookup="failed unreadable_answer", money=UNKNOWN)),
    (200, b"<html>", Left(lookup="failed unreadable_answer", money=UNKNOWN)),
    (200, ANSWER, Left(lookup="succeeded", credential="verified", money=CHARGED)),
    (200, ANSWER | {"data": []}, Left(lookup="succeeded", credential="verified", money=CHARGED)),
    (
        200,
        ANSWER | {"data": {"results": [SECOND], "total": 1}},
        Left(lookup="succeeded", credential="verified", money=CHARGED),
    ),
]


@pytest.fixture
def submit(alice: Tenant, redis_client: redis.Redis, provider: Provider, settings: Settings) -> Submit:
    """One search on a lane that hardly waits, with Memories where the test's provider is."""
    settings.MEMORIES_BASE_URL = provider.url
    policies.of("memories")
    Policy.objects.update(calls=1000, window_ms=10, guard_ms=0)
    redis_client.flushdb()
    credentials.store(alice, "memories", "a-memories-key")
    ledger.grant(ledger.account_of(alice, "memories"), Decimal(10))
    key = keys.issue(alice, Mode.LIVE)[0]

    def submit(source: str) -> Lookup:
        order = Order(lookups=[LookupOrder(source=source, parameters={})])
        fit = {"memories": registry.adapter(source).picture_limits}
        with pictures.received(alice, jpeg(), fit=fit) as picture:
            return intake.submit(key, order, picture).lookups.get()

    return submit


def visit() -> Left:
    """Lets a worker visit the lane until it made a call, and says what is left."""
    before = Call.objects.count()
    for _ in range(50):
        execution.run("memories", str(uuid4()))
        if Call.objects.count() > before:
            break
    assert audit.differences() == []
    lookup, credential, lane = Lookup.objects.get(), Credential.objects.get(), Lane.objects.get()
    ended = lookup.status in Lookup.ENDED
    tally = ledger.tallies([lookup.reference])[lookup.reference]
    return Left(
        lookup=f"{lookup.status} {lookup.error_code}".strip() if ended else lookup.standing,
        credential=credential.state,
        attempts=lookup.attempts,
        paused=lane.paused_until is not None,
        money=(float(tally.held), float(tally.charged), float(tally.unknown)),
    )


@SOURCES
@pytest.mark.parametrize(("code", "status", "left"), DOCUMENTED)
@pytest.mark.parametrize("at_200", [True, False], ids=["at 200", "at its status"])
def test_a_documented_failure_leaves_what_it_means(
    submit: Submit, provider: Provider, source: str, code: str, status: int, left: Left, at_200: bool
) -> None:
    provider.answers({"code": code, "msg": "Said so.", "data": None}, 200 if at_200 else status)
    submit(source)
    assert visit() == left


@SOURCES
@pytest.mark.parametrize(("status", "body", "left"), OTHERS)
def test_anything_else_leaves_what_its_status_means(
    submit: Submit, provider: Provider, source: str, status: int, body: Any, left: Left
) -> None:
    provider.answers(body, status)
    submit(source)
    assert visit() == left


@SOURCES
def test_a_retry_after_is_how_long_the_lane_waits(submit: Submit, provider: Provider, source: str) -> None:
    provider.answers({"code": "0429", "msg": "Request is too busy."}, 200, {"Retry-After": "30"})
    submit(source)
    visit()
    until = Lane.objects.get().paused_until
    assert until is not None
    assert timedelta(seconds=25) < until - scheduler.now() <= timedelta(seconds=30)


@SOURCES
def test_a_fault_is_tried_four_times_and_costs_nothing(submit: Submit, provider: Provider, source: str) -> None:
    provider.answers({"code": "0409", "msg": "Duplicate requests are not allowed."})
    submit(source)
    for attempt in (1, 2, 3):
        assert visit() == Left(lookup="asleep", attempts=attempt, money=HELD)
        Lookup.objects.update(standing=Standing.READY, not_before=None)
        Place.objects.update(ready=1, wake_at=None)
    assert visit() == Left(lookup="failed duplicate_request", attempts=3, money=FREE)
    assert Lookup.objects.get().error_retryable


@SOURCES
def test_a_dead_key_replaced_the_lookup_goes_on(submit: Submit, provider: Provider, source: str, alice: Tenant) -> None:
    provider.answers({"code": "0403", "msg": "Developer account has been disabled."})
    submit(source)
    assert visit() == DEAD_KEY
    provider.answers(ANSWER)
    credentials.store(alice, "memories", "another-key")
    assert scheduler.unpark() == ["memories"]
    assert visit() == Left(lookup="succeeded", credential="verified", money=CHARGED)
    assert Lookup.objects.get().result_count == 2
