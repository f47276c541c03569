"""A delivery to a real receiver: its request, its outcome, and the consequences."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from ipaddress import ip_network

import pytest
from django.utils import timezone
from pytest_django import Settings
from standardwebhooks.webhooks import Webhook

from accounts import webhooks
from accounts.models import Attempt, Delivery, Endpoint, Event, EventType, Mode, Tenant
from accounts.webhooks import delivery, endpoints, redelivery
from accounts.webhooks.delivery import ClaimedDelivery
from tests.accounts.receiving import Answer, Receiver, receiver
from tests.providers.wire import Caller, Script, wire

FAILED = EventType.SEARCH_FAILED


@pytest.fixture(autouse=True)
def loopback(settings: Settings) -> None:
    settings.OUTBOUND_ALLOW = [ip_network("127.0.0.0/8")]


@pytest.fixture
def it() -> Iterator[Receiver]:
    with receiver() as listening:
        yield listening


def endpoint_at(tenant: Tenant, url: str) -> tuple[Endpoint, str]:
    return endpoints.create(tenant, Mode.LIVE, url=url)


def record(tenant: Tenant) -> None:
    webhooks.record(tenant.pk, Mode.LIVE, FAILED, {"id": 7, "name": "Zoë"})


def claim_all() -> list[ClaimedDelivery]:
    return delivery.claim(most=100, most_slow=100)


def deliver_all() -> int:
    batch = claim_all()
    for claimed in batch:
        delivery.deliver(claimed)
    return len(batch)


def let_time_pass() -> None:
    """Makes pending deliveries due, and ends the pauses of endpoints."""
    Delivery.objects.filter(state="pending").update(next_attempt_at=timezone.now() - timedelta(seconds=1))
    Endpoint.objects.update(quiet_until=None)


def the_delivery() -> Delivery:
    return Delivery.objects.get()


def the_attempt() -> Attempt:
    return Attempt.objects.get()


def seconds_to_wait() -> float:
    waiting = the_delivery()
    assert waiting.next_attempt_at is not None
    return (waiting.next_attempt_at - timezone.now()).total_seconds()


# The request


def test_an_event_is_posted_signed_with_its_id_and_its_very_body(alice: Tenant, it: Receiver) -> None:
    _, secret = endpoint_at(alice, it.url)
    record(alice)
    event = Event.objects.get()
    assert deliver_all() == 1
    [heard] = it.heard
    assert heard.body == event.body
    assert heard.id == str(event.pk)
    assert heard.headers["content-type"] == "application/json"
    assert Webhook(secret).verify(heard.body, dict(heard.headers)) == json.loads(event.body)


def test_both_secrets_verify_during_a_rotation(alice: Tenant, it: Receiver) -> None:
    endpoint, first = endpoint_at(alice, it.url)
    second = endpoints.rotate(endpoint)
    record(alice)
    deliver_all()
    for secret in (first, second):
        Webhook(secret).verify(it.heard[0].body, dict(it.heard[0].headers))


def test_every_try_has_the_id_and_body_of_the_first_and_a_time_of_its_own(alice: Tenant, it: Receiver) -> None:
    it.answering = lambda _: 500
    _, secret = endpoint_at(alice, it.url)
    record(alice)
    first = claim_all()[0]
    delivery.settle(
        first,
        delivery.attempt(first.delivery, at=first.now() - timedelta(minutes=4)),
        started_at=first.now(),
        seconds=0,
    )
    let_time_pass()
    deliver_all()
    before, after = it.heard
    assert (before.id, before.body) == (after.id, after.body)
    times = [int(heard.headers["webhook-timestamp"]) for heard in it.heard]
    assert times[1] - times[0] >= 240
    for heard in it.heard:
        Webhook(secret).verify(heard.body, dict(heard.headers))


def test_a_worker_whose_clock_is_off_signs_with_the_database_s_time(
    alice: Tenant, it: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    endpoint_at(alice, it.url)
    record(alice)
    ahead = datetime.now(UTC) + timedelta(hours=1)
    monkeypatch.setattr(timezone, "now", lambda: ahead)
    deliver_all()
    assert abs(int(it.heard[0].headers["webhook-timestamp"]) - datetime.now(UTC).timestamp()) < 60


# The outcome


@pytest.mark.parametrize("status", [200, 201, 202, 204, 299])
def test_any_2xx_is_received(alice: Tenant, it: Receiver, status: int) -> None:
    it.answering = lambda _: Answer(status=status, body=b"" if status == 204 else b"thanks")
    endpoint_at(alice, it.url)
    record(alice)
    deliver_all()
    done, attempt = the_delivery(), the_attempt()
    assert (done.state, done.next_attempt_at, done.leased_until, done.attempt_count) == ("delivered", None, None, 1)
    assert done.finished_at is not None
    assert (attempt.number, attempt.status, attempt.cause, attempt.detail) == (1, status, "", "")
    assert attempt.answer == ("" if status == 204 else "thanks")
    assert claim_all() == []


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_a_failure_and_is_not_followed(alice: Tenant, it: Receiver, status: int) -> None:
    with receiver() as elsewhere:
        it.answering = lambda _: Answer(status=status, headers={"Location": elsewhere.url})
        endpoint_at(alice, it.url)
        record(alice)
        deliver_all()
    assert elsewhere.heard == []
    assert (the_attempt().cause, the_attempt().status, the_delivery().state) == ("redirected", status, "pending")
    assert "change its URL" in the_attempt().detail


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503, 599])
def test_any_other_status_is_a_failure_that_is_said_in_words(alice: Tenant, it: Receiver, status: int) -> None:
    it.answering = lambda _: Answer(status=status, body=b"no")
    endpoint_at(alice, it.url)
    record(alice)
    deliver_all()
    attempt = the_attempt()
    assert (attempt.cause, attempt.status, attempt.answer) == ("bad_status", status, "no")
    assert f"answered {status}" in attempt.detail
    assert 4 < seconds_to_wait() < 6


def test_of_an_answer_the_first_kilobyte_is_kept_and_what_is_no_text_replaced(alice: Tenant, it: Receiver) -> None:
    it.answering = lambda _: Answer(status=200, body=b"\xff\0ok" + b"x" * 100_000)
    endpoint_at(alice, it.url)
    record(alice)
    deliver_all()
    assert the_delivery().state == "delivered"
    assert the_attempt().answer == "��ok" + "x" * 1020


def hang_up(caller: Caller) -> None:
    caller.hear_request()


def talk_nonsense(caller: Caller) -> None:
    caller.hear_request()
    caller.say(b"nonsense\r\n\r\n")


@pytest.mark.parametrize("script", [hang_up, talk_nonsense])
def test_what_is_no_answer_is_said(alice: Tenant, script: Script) -> None:
    with wire(script) as server:
        endpoint_at(alice, server.url)
        record(alice)
        deliver_all()
    assert (the_attempt().cause, the_attempt().status) == ("broken_answer", None)


def test_an_attempt_at_an_endpoint_that_hangs_ends_at_its_deadline(
    alice: Tenant, it: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery, "LONGEST_SECONDS", 0.3)
    it.answering = it.hang
    endpoint_at(alice, it.url)
    record(alice)
    deliver_all()
    assert (the_attempt().cause, the_attempt().detail) == ("timed_out", "No answer came within 0.3 seconds.")
    assert the_attempt().duration_ms >= 300


@pytest.mark.parametrize(
    ("url", "cause"),
    [
        ("http://127.0.0.1:9/", "connection_refused"),
        ("http://10.0.0.1/", "private_address"),
        ("http://[::1]/", "private_address"),
        ("http://nowhere.invalid/", "dns_"),
        ("https://8.8.8.8:8443/", "port_not_taken"),
    ],
)
def test_where_nothing_can_be_sent_the_cause_says_why(alice: Tenant, url: str, cause: str) -> None:
    endpoint_at(alice, url)
    record(alice)
    deliver_all()
    assert the_attempt().cause.startswith(cause)
    assert the_attempt().status is None
    assert the_attempt().detail.endswith(".")


def test_no_tls_where_https_is_wanted_is_said(alice: Tenant, it: Receiver) -> None:
    endpoint_at(alice, it.url.replace("http:", "https:"))
    record(alice)
    deliver_all()
    assert the_attempt().cause == "tls_failed"


def test_a_secret_that_no_key_opens_fails_its_own_deliveries_alone(alice: Tenant, it: Receiver) -> None:
    spoilt, _ = endpoint_at(alice, it.url)
    endpoint_at(alice, f"{it.url}other")
    Endpoint.objects.filter(pk=spoilt.pk).update(sealed=b"\1\3devnothing that opens, and long enough")
    record(alice)
    assert deliver_all() == 2
    assert Delivery.objects.get(endpoint=spoilt).attempts.get().cause == "secret_unreadable"
    assert Delivery.objects.exclude(endpoint=spoilt).get().state == "delivered"


# The consequences


def test_ten_tries_are_made_and_then_it_has_failed(alice: Tenant, it: Receiver) -> None:
    it.answering = lambda _: 500
    endpoint_at(alice, it.url)
    record(alice)
    for _ in range(10):
        assert deliver_all() == 1
        let_time_pass()
    assert deliver_all() == 0
    assert len(it.heard) == 10
    assert (the_delivery().state, the_delivery().attempt_count) == ("failed", 10)
    assert list(the_delivery().attempts.values_list("number", flat=True)) == list(range(1, 11))


def test_what_is_resent_has_all_its_tries_again(alice: Tenant, it: Receiver) -> None:
    it.answering = lambda _: 500
    endpoint_at(alice, it.url)
    record(alice)
    Delivery.objects.update(state="failed", next_attempt_at=None, tries=10, attempt_count=10)
    redelivery.redeliver(the_delivery())
    deliver_all()
    assert 4 < seconds_to_wait() < 6
    it.answering = lambda _: 200
    let_time_pass()
    deliver_all()
    assert (the_delivery().state, the_delivery().attempt_count) == ("delivered", 12)


@pytest.mark.parametrize("status", [429, 503])
def test_an_endpoint_that_asks_for_time_gets_it_for_all_its_events(alice: Tenant, it: Receiver, status: int) -> None:
    it.answering = lambda _: Answer(status=status, headers={"Retry-After": "600"})
    endpoint_at(alice, it.url)
    record(alice)
    deliver_all()
    assert 590 < seconds_to_wait() <= 600
    record(alice)
    assert deliver_all() == 0
    let_time_pass()
    assert deliver_all() == 2


@pytest.mark.parametrize("hours_off", [-1, 1, 24 * 365])
def test_a_date_to_retry_after_is_one_of_the_receivers_own_clock(alice: Tenant, it: Receiver, hours_off: int) -> None:
    its_now = time.time() + hours_off * 3600
    headers = {"Date": formatdate(its_now, usegmt=True), "Retry-After": formatdate(its_now + 600, usegmt=True)}
    it.answering = lambda _: Answer(status=503, headers=headers)
    endpoint_at(alice, it.url)
    record(alice)
    deliver_all()
    assert 590 < seconds_to_wait() <= 600


def test_410_disables_at_once_and_the_other_endpoints_get_an_event(alice: Tenant, it: Receiver) -> None:
    gone, _ = endpoint_at(alice, it.url)
    with receiver() as other:
        endpoint_at(alice, other.url)
        it.answering = lambda _: 410
        record(alice)
        assert deliver_all() == 2
        gone.refresh_from_db()
        assert (gone.enabled, gone.disabled_reason) == (False, "410 Gone")
        assert Delivery.objects.get(endpoint=gone).state == "failed"
        deliver_all()
        told = json.loads(other.heard[-1].body)
    assert (told["type"], told["data"]["id"]) == ("endpoint.disabled", str(gone.pk))
    assert len(it.heard) == 1


def test_an_endpoint_that_fails_for_five_days_is_disabled(alice: Tenant, it: Receiver) -> None:
    it.answering = lambda _: 500
    endpoint, _ = endpoint_at(alice, it.url)
    record(alice)
    deliver_all()
    endpoint.refresh_from_db()
    assert endpoint.failing_since is not None
    Endpoint.objects.update(failing_since=timezone.now() - timedelta(days=5, seconds=-60))
    let_time_pass()
    deliver_all()
    endpoint.refresh_from_db()
    assert endpoint.enabled
    Endpoint.objects.update(failing_since=timezone.now() - timedelta(days=5))
    let_time_pass()
    deliver_all()
    endpoint.refresh_from_db()
    assert (endpoint.enabled, endpoint.disabled_reason) == (False, "failed for 5 days")


def test_one_success_in_between_begins_the_five_days_anew(alice: Tenant, it: Receiver) -> None:
    endpoint, _ = endpoint_at(alice, it.url)
    Endpoint.objects.update(failing_since=timezone.now() - timedelta(days=4), slow=True)
    record(alice)
    deliver_all()
    endpoint.refresh_from_db()
    assert (endpoint.failing_since, endpoint.slow) == (None, False)


def by_deleting_the_endpoint() -> None:
    for endpoint in Endpoint.objects.all():
        endpoints.remove(endpoint)


def by_forgetting_the_event() -> None:
    Event.objects.all().delete()


@pytest.mark.parametrize("delete", [by_deleting_the_endpoint, by_forgetting_the_event])
def test_what_was_deleted_meanwhile_is_not_settled(alice: Tenant, it: Receiver, delete: Callable[[], None]) -> None:
    endpoint_at(alice, it.url)
    record(alice)
    [claimed] = claim_all()
    delete()
    delivery.deliver(claimed)
    assert not Attempt.objects.exists()
