"""Every error on the providers' pages leaves the lookup, the credential, the lane and the credits of a live key as expected.

The providers are played over real sockets.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
import redis
from pytest_django import Settings

from accounts import clock, keys
from accounts.models import Mode, Tenant
from billing import audit, ledger
from providers import policies, registry
from providers.keyring import credentials
from providers.models import Credential, Policy
from searches import pictures
from searches.calls import worker
from searches.lanes import credential_gate
from searches.models import Call, Lane, Lookup, QueueState, TenantQueue
from searches.orders import submission
from searches.orders.order import LookupOrder, Order
from tests.bench.picture import jpeg
from tests.providers.adapters import test_keyapi, test_memories, test_modash
from tests.providers.conftest import Provider

pytestmark = pytest.mark.django_db
MODASH, KEYAPI, PUBLIC, PRIVATE = "tiktok-creators", "tiktok-products", "public-videos", "private-videos"
MEMORIES = (PUBLIC, PRIVATE)
ONE_VIDEO = test_memories.ANSWER | {"data": [test_memories.FIRST]}
# The hold of a lookup: 20 creators at 0.025, or one call at 1.
HELD = {MODASH: 0.5, KEYAPI: 1.0, PUBLIC: 1.0, PRIVATE: 1.0}
FOUND = {
    MODASH: test_modash.ANSWER | {"total": 1},
    KEYAPI: test_keyapi.ANSWER,
    PUBLIC: ONE_VIDEO,
    PRIVATE: ONE_VIDEO,
}
COST = {MODASH: 0.025, KEYAPI: 1.0, PUBLIC: 1.0, PRIVATE: 1.0}


@dataclass(frozen=True, kw_only=True)
class Left:
    """The state after a call. `lookup`: its status and error, or its queue state. `rests`: whether its key rests. `held`:
    whether its credits are still held.
    """

    lookup: str
    credential: str = "unknown"
    attempts: int = 0
    rests: bool = False
    held: bool = False
    charged: float = 0
    unknown: float = 0


DEAD_KEY = Left(lookup="blocked", credential="invalid", held=True)
NO_CREDITS = Left(lookup="blocked", credential="exhausted", held=True)
LATER = Left(lookup="delayed", attempts=1, held=True)
TOO_SOON = Left(lookup="ready", rests=True, held=True)
REFUSED = Left(lookup="failed refused")
NOT_INCLUDED = Left(lookup="failed feature_not_available")
NOT_PERMITTED = Left(lookup="failed not_permitted")
NOTHING = Left(lookup="succeeded", credential="verified")
DENIED = Left(lookup="failed permission_denied")
UNREADABLE = Left(lookup="failed unreadable_answer")
UNKNOWN = Left(lookup="failed outcome_unknown")


def modash(code: str) -> dict[str, Any]:
    return {"error": True, "code": code, "message": "Said so."}


def keyapi(code: int, message: str = "Said so.") -> dict[str, Any]:
    return {"code": code, "data": None, "message": message}


def memories(code: str, **said: bool) -> dict[str, Any]:
    return {"code": code, "msg": "Said so.", "data": None, **said}


# Modash documents no status for its codes: at any of them, 200 included, they mean the same.
BY_MODASH_CODE = {
    "api_token_invalid": DEAD_KEY,
    "not_enough_credits": NO_CREDITS,
    "feature_not_available": NOT_INCLUDED,
    "bad_request": REFUSED,
    "invalid_body_params": REFUSED,
    "entity_not_found": REFUSED,
    "retry_later": LATER,
    "internal_server_error": LATER,
    "no_result": NOTHING,
    "page_limit": NOTHING,
}
BY_KEYAPI_CODE = {
    400: REFUSED,
    401: DEAD_KEY,
    402: NO_CREDITS,
    403: NOT_PERMITTED,
    429: TOO_SOON,
    500: LATER,
}
# They may come at HTTP 200, and with or without `success` and `failed`.
BY_MEMORIES_CODE = {
    "0001": (400, REFUSED),
    "0003": (400, REFUSED),
    "0401": (401, DEAD_KEY),
    "0402": (402, NO_CREDITS),
    "0403": (403, DEAD_KEY),
    "0409": (409, LATER),
    "0429": (429, TOO_SOON),
    "9009": (403, DENIED),
}
BY_MEMORIES: list[tuple[int, Any, Left]] = [
    *((200, memories(code), left) for code, (_, left) in BY_MEMORIES_CODE.items()),
    *((200, memories(code, success=False, failed=True), left) for code, (_, left) in BY_MEMORIES_CODE.items()),
    *((status, memories(code), left) for code, (status, left) in BY_MEMORIES_CODE.items()),
    (200, memories("7777", failed=True), REFUSED),
    (500, memories("7777"), LATER),
    (401, b"", DEAD_KEY),
    (402, b"", NO_CREDITS),
    (403, b"<html>", REFUSED),
    (429, b"", TOO_SOON),
    (503, b"<html>", LATER),
    (302, b"", UNREADABLE),
    (200, test_memories.ANSWER | {"data": []}, replace(NOTHING, charged=1)),
    (200, test_memories.ANSWER | {"data": {"results": [], "total": 0}}, replace(NOTHING, charged=1)),
    (200, test_memories.ANSWER | {"data": [test_memories.FIRST, 7]}, replace(NOTHING, charged=1)),
    (200, test_memories.ANSWER | {"data": "none"}, replace(UNREADABLE, charged=1)),
    (200, test_memories.ANSWER | {"code": 0, "data": []}, replace(NOTHING, charged=1)),
    (200, b'{"code": "0000", "da', replace(UNKNOWN, unknown=1)),
    (200, b"<html>", replace(UNKNOWN, unknown=1)),
]
ERRORS: list[tuple[str, int, Any, Left]] = [
    *((MODASH, status, modash(code), left) for code, left in BY_MODASH_CODE.items() for status in (200, 400)),
    (MODASH, 429, modash("retry_later"), TOO_SOON),
    (MODASH, 429, modash("bad_request"), TOO_SOON),
    (MODASH, 200, modash("never_heard_of"), REFUSED),
    (MODASH, 429, b"", TOO_SOON),
    (MODASH, 401, b"", DEAD_KEY),
    (MODASH, 402, b"<html>", NO_CREDITS),
    (MODASH, 403, b"<html>", REFUSED),
    (MODASH, 503, b"<html>", LATER),
    (MODASH, 302, b"", UNREADABLE),
    (MODASH, 200, b"<html>", replace(UNKNOWN, unknown=0.5)),
    (MODASH, 200, {"error": False, "profiles": [7, 7]}, replace(NOTHING, charged=0.05)),
    *((KEYAPI, status, keyapi(code), left) for code, left in BY_KEYAPI_CODE.items() for status in (200, code)),
    *((KEYAPI, status, keyapi(403, "plan quota exceeded"), NO_CREDITS) for status in (200, 403)),
    (KEYAPI, 200, keyapi(40001), REFUSED),
    (KEYAPI, 404, b"<html>", REFUSED),
    (KEYAPI, 429, b"", TOO_SOON),
    (KEYAPI, 502, b"<html>", LATER),
    (KEYAPI, 302, b"", UNREADABLE),
    # An empty answer is an answer, and is billed.
    (KEYAPI, 200, test_keyapi.ANSWER | {"data": []}, replace(NOTHING, charged=1)),
    # The provider counts it as a success, and bills it. If the number of results is unknown, it may have been billed.
    (KEYAPI, 200, test_keyapi.ANSWER | {"data": [test_keyapi.PRODUCT, 7]}, replace(NOTHING, charged=1)),
    (KEYAPI, 200, {"code": 0, "message": "success", "data": None}, replace(NOTHING, charged=1)),
    (KEYAPI, 200, {"code": 0, "message": "success", "data": "none"}, replace(UNREADABLE, charged=1)),
    (KEYAPI, 200, {"code": 0}, replace(UNREADABLE, charged=1)),
    (KEYAPI, 200, b'{"code": 0, "data": [{"_index"', replace(UNKNOWN, unknown=1)),
    *((source, status, body, left) for source in MEMORIES for status, body, left in BY_MEMORIES),
]
Submit = Callable[[str], Lookup]


@pytest.fixture
def submit(alice: Tenant, redis_client: redis.Redis, provider: Provider, settings: Settings) -> Submit:
    """Submits one search to a lane without waits, whose provider is the test's."""
    redis_client.flushdb()
    key = keys.issue(alice, Mode.LIVE)[0]

    def submit(source: str) -> Lookup:
        adapter = registry.adapter(source)
        setattr(settings, adapter.base_url_setting, provider.url)
        policies.of(adapter.provider)
        Policy.objects.update(calls=1000, window_ms=10, guard_ms=0)
        credentials.store(alice, adapter.provider, "alices-own-key")
        ledger.grant(ledger.account_of(alice, adapter.provider), Decimal(10))
        order = Order(lookups=[LookupOrder(source=source, parameters={}, limit=adapter.default_limit)])
        with pictures.received(alice, jpeg(), fit={adapter.provider: adapter.picture_limits}) as picture:
            return submission.submit(key, order, picture).search.lookups.get()

    return submit


def visit(lookup: Lookup) -> Left:
    """Lets a worker visit the lane until it has made a call, and returns the state after it."""
    before = Call.objects.count()
    for _ in range(50):
        worker.run(lookup.lane_id, str(uuid4()))
        if Call.objects.count() > before:
            break
    assert audit.differences() == []
    lookup.refresh_from_db()
    tally = ledger.tallies([lookup.reference])[lookup.reference]
    assert tally.held in (0, HELD[lookup.source])
    ended = lookup.status in Lookup.ENDED
    return Left(
        lookup=f"{lookup.status} {lookup.error_code}".strip() if ended else lookup.queue_state,
        credential=Credential.objects.get().state,
        attempts=lookup.attempts,
        rests=Credential.objects.get().rests_until is not None,
        held=bool(tally.held),
        charged=float(tally.charged),
        unknown=float(tally.unknown),
    )


def wake() -> None:
    Lookup.objects.update(queue_state=QueueState.READY, not_before=None)
    TenantQueue.objects.update(ready=1, wake_at=None)


def test_every_source_has_its_table() -> None:
    assert {source for source, *_ in ERRORS} == set(registry.ADAPTERS)


@pytest.mark.parametrize(("source", "status", "body", "left"), ERRORS)
def test_each_documented_error_ends_as_the_table_says(
    submit: Submit, provider: Provider, source: str, status: int, body: Any, left: Left
) -> None:
    provider.answers(body, status)
    assert visit(submit(source)) == left


@pytest.mark.parametrize(("code", "message", "_kind", "_name"), test_keyapi.DOCUMENTED)
def test_the_words_of_keyapis_page_reach_the_tenant(
    submit: Submit, provider: Provider, code: int, message: str, _kind: type, _name: str
) -> None:
    provider.answers(keyapi(code, message), code)
    visit(submit(KEYAPI))
    call = Call.objects.get()
    assert (call.status, call.provider_request_id) == (code, "")
    assert f'"{code} {message}"' in call.error_detail


@pytest.mark.parametrize("source", HELD)
def test_a_retry_after_is_how_long_the_key_rests(submit: Submit, provider: Provider, source: str) -> None:
    provider.answers(b"", 429, {"Retry-After": "30"})
    assert visit(submit(source)) == TOO_SOON
    until = Credential.objects.get().rests_until
    assert until is not None
    assert timedelta(seconds=20) < until - clock.now() <= timedelta(seconds=30)
    assert Lane.objects.get().paused_until is None


@pytest.mark.parametrize(("source", "attempts"), [(MODASH, 4), (KEYAPI, 2), (PUBLIC, 4), (PRIVATE, 4)])
def test_a_fault_is_retried_as_often_as_the_providers_page_allows(
    submit: Submit, provider: Provider, source: str, attempts: int
) -> None:
    provider.answers(b"", 500)
    lookup = submit(source)
    for attempt in range(1, attempts):
        assert visit(lookup) == replace(LATER, attempts=attempt)
        wake()
    assert visit(lookup) == Left(lookup="failed provider_error", attempts=attempts - 1)
    assert lookup.error_retryable


@pytest.mark.parametrize("source", HELD)
@pytest.mark.parametrize("error", [401, 402])
def test_a_lookup_continues_when_its_key_is_replaced(
    submit: Submit, provider: Provider, alice: Tenant, source: str, error: int
) -> None:
    provider.answers(b"", error)
    lookup = submit(source)
    assert visit(lookup).lookup == "blocked"
    provider.answers(FOUND[source])
    credentials.store(alice, lookup.provider, "another-key")
    assert credential_gate.unblock() == [lookup.provider]
    assert visit(lookup) == Left(lookup="succeeded", credential="verified", charged=COST[source])
    assert lookup.result_count == 1


def test_the_request_id_of_keyapi_is_kept_with_the_call(submit: Submit, provider: Provider) -> None:
    provider.answers(test_keyapi.ANSWER)
    lookup = submit(KEYAPI)
    visit(lookup)
    assert Call.objects.get().provider_request_id == test_keyapi.ANSWER["requestId"]
    result = lookup.results.get()
    assert (result.type, result.score, result.image_url) == ("product", 31.961123, None)
    assert result.url == "https://www.tiktok.com/shop/pdp/1731083827559830517"


@pytest.mark.parametrize("source", HELD)
def test_a_lost_answer_may_have_been_billed_and_is_asked_for_once_more(
    submit: Submit, provider: Provider, source: str
) -> None:
    provider.reply = (200, [("Content-Length", "1000")], b"cut")
    lookup = submit(source)
    assert visit(lookup) == Left(lookup="ready", held=True, unknown=HELD[source])
    provider.answers(FOUND[source])
    left = Left(lookup="succeeded", credential="verified", charged=COST[source], unknown=HELD[source])
    assert visit(lookup) == left


def test_one_null_count_among_three_creators_costs_none_of_them(submit: Submit, provider: Provider) -> None:
    profiles = [test_modash.PROFILE | {"userId": str(number)} for number in range(3)]
    profiles[1]["followersCount"] = None
    provider.answers({"error": False, "total": 3, "profiles": profiles})
    lookup = submit(MODASH)
    assert visit(lookup) == replace(NOTHING, charged=0.075)
    found = list(lookup.results.order_by("rank"))
    assert [result.external_id for result in found] == ["0", "1", "2"]
    assert [result.detail["followers_count"] for result in found] == [313560626, None, 313560626]
    assert found[1].raw == profiles[1]
