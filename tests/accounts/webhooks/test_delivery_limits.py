"""The bounds of one address, whatever names lead there: a name costs nothing."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_network
from uuid import uuid4

import pytest
from django.utils import timezone
from pytest_django import Settings

from accounts.models import Attempt, Delivery, Endpoint, Mode, Tenant
from accounts.net import outbound
from accounts.webhooks import delivery, delivery_limits, endpoints, redelivery
from accounts.webhooks.delivery_limits import Crowded, Visit
from tests.accounts.receiving import Receiver, receiver
from tests.accounts.webhooks.test_delivery import claim_all, deliver_all, let_time_pass, record

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def loopback(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    settings.OUTBOUND_ALLOW = [ip_network("127.0.0.0/8")]
    # Every name leads to this machine, as wildcards of an attacker's zone would.
    monkeypatch.setattr(outbound.OutboundConnector, "looked_up", lambda self, host: ["127.0.0.1"])
    delivery_limits.cooldown.end()
    monkeypatch.setattr(delivery_limits, "KEY_PREFIX", f"{delivery_limits.KEY_PREFIX}{uuid4()}:")


@pytest.fixture
def it() -> Iterator[Receiver]:
    with receiver() as listening:
        yield listening


def visits(tenant: Tenant, it: Receiver, names: int) -> list[Visit]:
    """Returns a delivery under way to each of so many names of the receiver."""
    port = it.url.rpartition(":")[2].strip("/")
    for number in range(names):
        endpoints.create(tenant, Mode.LIVE, url=f"http://a{number}.evil.example:{port}/")
    Endpoint.objects.update(slow=False)
    record(tenant)
    return [Visit(delivery=claimed.delivery) for claimed in claim_all()]


def enters(visit: Visit, address: str) -> bool:
    try:
        visit.enter(address)
    except Crowded:
        return False
    return True


def test_many_names_of_one_address_are_one_destination(alice: Tenant, it: Receiver, settings: Settings) -> None:
    settings.WEBHOOK_TARGET_AT_ONCE = 6
    under_way = visits(alice, it, 5)
    assert [enters(visit, "192.0.2.1") for visit in under_way].count(True) == 3, "one tenant has half"
    assert enters(under_way[4], "192.0.2.2")
    under_way[0].leave()
    assert enters(under_way[3], "192.0.2.1")


def test_a_network_of_version_6_is_one_destination(alice: Tenant, it: Receiver, settings: Settings) -> None:
    settings.WEBHOOK_TARGET_AT_ONCE = 4
    under_way = visits(alice, it, 3)
    told = [enters(visit, f"2001:db8::{number}:1") for number, visit in enumerate(under_way)]
    assert told == [True, True, False]


def test_tenants_share_what_an_address_takes(alice: Tenant, bob: Tenant, it: Receiver, settings: Settings) -> None:
    settings.WEBHOOK_TARGET_AT_ONCE = 4
    alices, bobs = visits(alice, it, 3), visits(bob, it, 3)
    assert [enters(visit, "192.0.2.1") for visit in alices] == [True, True, False]
    assert [enters(visit, "192.0.2.1") for visit in bobs] == [True, True, False]


def test_those_that_hang_keep_no_quick_one_out(alice: Tenant, it: Receiver, settings: Settings) -> None:
    settings.WEBHOOK_TARGET_AT_ONCE = 4
    slow, *quick = visits(alice, it, 3)
    slow.delivery.endpoint.slow = True
    assert enters(slow, "192.0.2.1")
    assert [enters(visit, "192.0.2.1") for visit in quick] == [True, True]


def test_a_delivery_that_finds_no_slot_is_put_back_and_no_try_is_counted(
    alice: Tenant, it: Receiver, settings: Settings
) -> None:
    settings.WEBHOOK_TARGET_AT_ONCE = 2
    first, second = visits(alice, it, 2)
    first.enter("127.0.0.1")
    Delivery.objects.filter(pk=second.delivery.pk).update(leased_until=None, tries=0, attempt_count=0)
    let_time_pass()
    assert deliver_all() >= 1
    put_back = Delivery.objects.get(pk=second.delivery.pk)
    assert (put_back.state, put_back.tries, put_back.attempt_count, put_back.leased_until) == ("pending", 0, 0, None)
    assert (it.heard, Attempt.objects.count(), Endpoint.objects.exclude(failing_since=None).count()) == ([], 0, 0)
    first.leave()
    Delivery.objects.filter(pk=second.delivery.pk).update(next_attempt_at=put_back.created_at)
    deliver_all()
    assert len(it.heard) >= 1


def test_test_events_to_many_names_of_one_address_are_one_rate(alice: Tenant, it: Receiver, settings: Settings) -> None:
    settings.WEBHOOK_TARGET_REQUESTS_PER_MINUTE = 2
    address = f"192.0.2.{uuid4().int % 250}"
    port = it.url.rpartition(":")[2].strip("/")
    for number in range(3):
        made, _ = endpoints.create(alice, Mode.LIVE, url=f"http://b{number}.evil.example:{port}/")
        redelivery.ping(made)
    told = [enters(Visit(delivery=claimed.delivery), address) for claimed in claim_all()]
    assert sorted(told) == [False, True, True]


def test_failing_endpoints_get_deliveries_at_a_rate_until_one_answers(
    alice: Tenant, bob: Tenant, it: Receiver, settings: Settings
) -> None:
    settings.WEBHOOK_TARGET_FAILURES_PER_MINUTE = 4
    address = f"198.51.100.{uuid4().int % 250}"
    failing = visits(alice, it, 6)
    for visit in failing:
        visit.delivery.endpoint.failing_since = timezone.now()
    assert [enters(visit, address) for visit in failing] == [True, True, False, False, False, False]
    [bobs] = visits(bob, it, 1)
    bobs.delivery.endpoint.failing_since = timezone.now()
    assert enters(bobs, address), "some is left to other tenants"
    failing[-1].delivery.endpoint.failing_since = None
    assert enters(failing[-1], address)


def test_one_event_to_many_endpoints_that_fail_is_few_requests(alice: Tenant, settings: Settings) -> None:
    settings.WEBHOOK_TARGET_FAILURES_PER_MINUTE = 4
    with receiver(lambda _: 500) as victim:
        for number in range(settings.WEBHOOK_TARGET_ENDPOINTS):
            endpoints.create(alice, Mode.LIVE, url=f"{victim.url}{number}")
        for _ in range(20):
            record(alice)
        for _ in range(10):
            deliver_all()
            let_time_pass()
        # One at each while nothing is known of it, and as many as the rate allows meanwhile.
        assert len(victim.heard) <= settings.WEBHOOK_TARGET_ENDPOINTS + 6


def test_without_redis_deliveries_go_on(alice: Tenant, it: Receiver, settings: Settings) -> None:
    visits(alice, it, 1)
    Delivery.objects.update(leased_until=None)
    let_time_pass()
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert deliver_all() == 1
    assert len(it.heard) == 1


def test_a_delivery_gives_its_place_back(alice: Tenant, it: Receiver, settings: Settings) -> None:
    settings.WEBHOOK_TARGET_AT_ONCE = 2
    endpoints.create(alice, Mode.LIVE, url=it.url)
    for number in range(3):
        record(alice)
        assert deliver_all() == 1
        assert len(it.heard) == number + 1
    assert delivery.claim(most=9, most_slow=9) == []
