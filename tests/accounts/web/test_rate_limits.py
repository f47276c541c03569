"""Rates a tenant: exact whatever comes at once, its own, and named in the refusal."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from math import ceil
from uuid import uuid4

import pytest
import redis
from django.conf import settings as django_settings
from pytest_django import Settings

from accounts.models import Tenant
from accounts.web import rate_limits
from accounts.web.exceptions import ServiceUnavailable, TooManyRequests
from tests.conftest import ClientOf
from tests.racing import at_once


@pytest.fixture(autouse=True)
def counted() -> Iterator[None]:
    """Ends the cooldown that another test's missing Redis has left."""
    rate_limits.cooldown.end()
    yield
    rate_limits.cooldown.end()


def accepts(ask: Callable[[], object]) -> bool:
    try:
        ask()
    except TooManyRequests:
        return False
    return True


def tenant(**limits: int) -> Tenant:
    return Tenant(id=uuid4(), name="Dora", **limits)


def test_of_fifty_key_checks_at_once_the_rate_is_taken() -> None:
    dora = tenant(key_checks_per_minute=7)
    assert sum(at_once([lambda: accepts(lambda: rate_limits.key_check(dora))] * 50)) == 7


def test_the_default_is_a_setting_and_a_tenants_own_limit_overrides_it(settings: Settings) -> None:
    settings.TENANT_KEY_CHECKS_PER_MINUTE = 2
    for dora, most in ((tenant(), 2), (tenant(key_checks_per_minute=3), 3)):
        assert [accepts(lambda: rate_limits.key_check(dora)) for _ in range(4)].count(True) == most  # noqa: B023


def test_a_refusal_is_repeated_for_a_moment_and_keeps_nothing_of_its_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "REPEATED_SECONDS", 60.0)
    dora = tenant(requests_per_second=1)
    while accepts(lambda: rate_limits.request(dora)):
        pass
    with pytest.raises(TooManyRequests) as first:
        rate_limits.request(dora)
    again = rate_limits.repeated(str(dora.pk))
    assert again is not None
    assert (again.detail, again.wait, again.fields) == (first.value.detail, first.value.wait, first.value.fields)
    assert again.__traceback__ is None
    assert rate_limits.repeated(str(uuid4())) is None


def test_one_tenants_requests_are_not_another_ones() -> None:
    dora, emil = tenant(requests_per_second=1), tenant(requests_per_second=1)
    # Ten seconds' worth at once, and what comes back meanwhile.
    assert 10 <= [accepts(lambda: rate_limits.request(dora)) for _ in range(100)].count(True) < 50
    assert accepts(lambda: rate_limits.request(emil))


def test_a_refusal_says_its_bound_and_when_to_ask_again() -> None:
    dora = tenant(key_checks_per_minute=30)
    for _ in range(30):
        rate_limits.key_check(dora)
    with pytest.raises(TooManyRequests) as refused:
        rate_limits.key_check(dora)
    wait = refused.value.wait
    rule = "You may store, replace, verify or reconcile 30 provider keys a minute."
    assert str(refused.value) == f"{rule} Ask again in {wait} s."
    assert wait in (1, 2), "one comes back in two seconds"


def test_a_bucket_refills_evenly() -> None:
    dora = tenant(requests_per_second=10)
    while accepts(lambda: rate_limits.request(dora)):
        pass
    time.sleep(0.11)
    assert accepts(lambda: rate_limits.request(dora))


def test_a_host_has_one_bucket_for_all_tenants_and_a_refusal_costs_nothing(settings: Settings) -> None:
    settings.WEBHOOK_TARGET_REQUESTS_PER_MINUTE = 3
    host, other = f"{uuid4()}.example", f"{uuid4()}.example"
    dora = tenant(test_events_per_minute=4)
    askers = [dora, dora, tenant(), tenant(), dora, dora, dora]
    assert [accepts(lambda: rate_limits.test_event(each, host)) for each in askers].count(True) == 3  # noqa: B023
    # Two of hers were taken, and four are hers.
    assert [accepts(lambda: rate_limits.test_event(dora, other)) for _ in range(4)].count(True) == 2


def test_tenants_who_take_all_that_they_get_at_a_host_leave_something_to_the_next(settings: Settings) -> None:
    settings.WEBHOOK_TARGET_REQUESTS_PER_MINUTE = 60
    host = f"{uuid4()}.example"
    got = []
    for _ in range(5):
        busy = tenant(test_events_per_minute=1000)
        got.append([accepts(lambda: rate_limits.test_event(busy, host)) for _ in range(70)].count(True))  # noqa: B023
    assert all(got), got
    assert 28 <= got[0] <= 33, "alone it gets half"
    assert sum(got) <= 63


def test_test_events_and_redeliveries_share_what_a_host_takes(settings: Settings) -> None:
    settings.WEBHOOK_TARGET_REQUESTS_PER_MINUTE = 1
    host, dora = f"{uuid4()}.example", tenant()
    assert accepts(lambda: rate_limits.test_event(dora, host))
    assert not accepts(lambda: rate_limits.redelivery(dora, host))


def test_without_redis_requests_are_taken_and_no_third_party_is_bothered(settings: Settings) -> None:
    dora = tenant(requests_per_second=1)
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert all(accepts(lambda: rate_limits.request(dora)) for _ in range(50))
    for bother in (rate_limits.test_event, rate_limits.redelivery):
        with pytest.raises(ServiceUnavailable):
            bother(dora, "example.com")


def test_a_full_bucket_has_no_key_in_redis() -> None:
    dora = tenant(key_checks_per_minute=60)
    rate_limits.key_check(dora)
    lasts = redis.Redis.from_url(django_settings.REDIS_URL).pttl(f"rate:key_checks:{dora.pk}")
    assert 0 < lasts <= 1000


def use_up(bucket: str, *, seconds: int) -> None:
    """Has a bucket be full again so late that a busy machine finds it empty still."""
    use_up_ms(bucket, seconds * 1000)


def use_up_ms(bucket: str, milliseconds: int) -> None:
    with redis.Redis.from_url(django_settings.REDIS_URL) as client:
        seconds, microseconds = client.time()
        full_at = seconds * 1_000_000 + microseconds + milliseconds * 1000
        client.set(f"rate:{bucket}", full_at, px=milliseconds)


def test_every_answer_has_the_remaining_rate(alice: Tenant, client_of: ClientOf) -> None:
    api, left = client_of(alice), []
    for path in ("/v1/sources", f"/v1/searches/{uuid4()}", "/v1/credits?wrong=1"):
        answer = api.get(path)
        assert answer["RateLimit-Policy"] == '"requests";q=1000;w=10'
        told = re.fullmatch(r'"requests";r=(\d+);t=10', answer["RateLimit"])
        assert told is not None
        left.append(int(told[1]))
    assert all(990 <= each <= 999 for each in left)


def test_what_is_left_comes_with_the_seconds_over_which_it_may_be_spread() -> None:
    """100 requests a second: 249 and a part may be sent over 2.5 seconds, which is said in whole ones."""
    dora = tenant()
    for used, left, seconds in ((7_500, 249, 3), (9_980, 1, 1)):
        use_up_ms(f"requests:{dora.pk}", used)
        told = re.fullmatch(r'"requests";r=(\d+);t=(\d+)', rate_limits.request(dora)["RateLimit"])
        assert told is not None
        # More is left on a busy machine.
        assert int(told[1]) >= left
        assert int(told[2]) == max(seconds, ceil(int(told[1]) / 100))


def test_a_refusal_by_another_rate_says_which(alice: Tenant, client_of: ClientOf) -> None:
    use_up(f"key_checks:{alice.pk}", seconds=120)
    refused = client_of(alice).post("/v1/credentials", {"provider": "modash", "secret": "a-key"}, format="json")
    assert refused.status_code == 429
    assert refused["RateLimit-Policy"].startswith('"key_checks";q=')
    assert refused["RateLimit"] == f'"key_checks";r=0;t={refused["Retry-After"]}'


def test_without_redis_nothing_is_said_of_the_rate(alice: Tenant, client_of: ClientOf, settings: Settings) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    answer = client_of(alice).get("/v1/sources")
    assert (answer.status_code, "RateLimit" in answer) == (200, False)


def test_past_the_rate_every_route_is_a_429_that_says_when(alice: Tenant, bob: Tenant, client_of: ClientOf) -> None:
    alice.requests_per_second = 1
    alice.save()
    api = client_of(alice)
    use_up(f"requests:{alice.pk}", seconds=60)
    for path in ("/v1/searches", "/v1/sources", "/v1/credits"):
        refused = api.get(path)
        assert (refused.status_code, refused["RateLimit-Policy"]) == (429, '"requests";q=10;w=10')
        assert 1 <= int(refused["Retry-After"]) <= 52
        assert refused["RateLimit"] == f'"requests";r=0;t={refused["Retry-After"]}'
        assert refused.json()["code"] == "rate_limited"
        assert "1 requests a second" in refused.json()["detail"]
    assert client_of(bob).get("/v1/searches").status_code == 200


def test_a_range_without_a_delivery_costs_nothing() -> None:
    dora, host = tenant(), f"{uuid4()}.example"
    rate_limits.resending(dora, host, 0)
    rate_limits.resending(dora, host, rate_limits.MOST_RESENT)
    assert not accepts(lambda: rate_limits.resending(dora, host, 1))
