"""Comparisons of what a provider counted for a key with what the calls with it cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from pytest_django import Settings

from accounts.models import Delivery, Event, Mode, Tenant
from accounts.webhooks import endpoints
from billing import audit, reconciliation
from billing.models import Entry, Reading, Reconciliation
from billing.reconciliation import CannotReconcile
from providers import registry
from providers.contract import Secret
from providers.failures import BadCredential, Failure, Faulty, Lost
from providers.keyring import credentials
from providers.models import Credential, Policy
from searches.api.reconciliation_serializers import ReconciliationSerializer
from searches.lanes import queue
from searches.models import Call, Status
from searches.reconciliation import readings
from tests.providers.asking import answer_of, ask
from tests.providers.conftest import Provider
from tests.racing import at_once
from tests.searches.reconciliation.conftest import (
    HOUR,
    KEY,
    PAGE,
    Serve,
    an_hour_passes,
    first_reading,
    reconciled,
    search,
    submitted,
)

pytestmark = pytest.mark.django_db
State = Reconciliation.State
GOOD = {"error": False, "user": {}, "billing": {"credits": 12.5, "rawRequests": 3}}


@pytest.fixture(autouse=True)
def listening(alice: Tenant) -> None:
    endpoints.create(alice, Mode.LIVE, url="https://alice.example/hooks", events=["credits.drift_found"])


def test_the_first_reading_of_a_key_is_compared_with_nothing(serve: Serve, credential: Credential) -> None:
    serve(credits=Decimal(100))
    reading: Any = readings.reconcile(credential)
    assert (reading.credits, reading.requests, reading.key_fingerprint) == (100, 0, credential.fingerprint[:16])
    assert reading.asked_at < reading.answered_at
    assert not Reconciliation.objects.exists()
    credential.refresh_from_db()
    assert credential.account is not None
    assert credential.account["credits"] == "100"


def test_a_count_that_is_what_the_calls_cost_matches(serve: Serve, credential: Credential, alice: Tenant) -> None:
    serve()
    first_reading(credential)
    search(alice), search(alice)
    row = reconciled(credential)
    assert (row.state, row.counted, row.billed, row.calls, row.drift) == (State.MATCHES, 2 * PAGE, 2 * PAGE, 2, 0)
    assert (row.overlapping, row.unknown, row.overbilled, row.is_shared) == (0, 0, 0, False)


def test_each_comparison_begins_where_the_last_one_ended(serve: Serve, credential: Credential, alice: Tenant) -> None:
    serve()
    first_reading(credential)
    search(alice)
    first = reconciled(credential)
    an_hour_passes()
    search(alice)
    second = reconciled(credential)
    assert second.opening == first.closing
    assert (second.state, second.billed, second.calls) == (State.MATCHES, PAGE, 1)


def test_a_provider_that_bills_more_than_its_price_is_announced(
    serve: Serve, credential: Credential, alice: Tenant
) -> None:
    """The provider's count of requests says that nobody else called with the key."""
    serve(billed_percent=200)
    first_reading(credential)
    search(alice)
    row = reconciled(credential)
    assert (row.state, row.counted, row.billed, row.drift) == (State.UNEXPLAINED, 1, PAGE, PAGE)
    event = Event.objects.get(type="credits.drift_found")
    assert Delivery.objects.filter(event=event).count() == 1
    assert '"drift":"0.5"' in event.body
    assert "billed more" in reconciliation.detail(row)


def test_a_count_below_what_was_billed_is_shown_quietly(
    serve: Serve, credential: Credential, alice: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    serve(billed_percent=50)
    first_reading(credential)
    search(alice)
    row = reconciled(credential)
    assert (row.state, row.drift) == (State.COUNTED_LESS, Decimal("-0.25"))
    assert "0.25 credits less" in reconciliation.detail(row)
    assert not Event.objects.filter(type="credits.drift_found").exists()
    assert "differs by" not in caplog.text


def test_a_top_up_smaller_than_the_spending_is_no_drift(serve: Serve, credential: Credential, alice: Tenant) -> None:
    modash = serve()
    first_reading(credential)
    search(alice), search(alice), search(alice)
    modash.add(1)
    assert reconciled(credential).state == State.COUNTED_LESS
    assert not Event.objects.filter(type="credits.drift_found").exists()


def test_what_is_billed_above_the_hold_is_charged_to_nobody_and_counted(
    serve: Serve, credential: Credential, alice: Tenant
) -> None:
    serve(surplus=5)
    first_reading(credential)
    lookup = search(alice)
    assert (lookup.status, lookup.result_count) == (Status.SUCCEEDED, 25)
    call = Call.objects.get()
    assert (call.credits, call.overbilled) == (PAGE, Decimal("0.125"))
    assert Entry.objects.get(kind=Entry.Kind.CHARGE).amount == PAGE
    assert audit.differences() == []
    row = reconciled(credential)
    assert (row.state, row.billed, row.overbilled) == (State.MATCHES, Decimal("0.625"), Decimal("0.125"))


def test_lost_answers_explain_what_was_counted_more(serve: Serve, credential: Credential, alice: Tenant) -> None:
    modash = serve()
    first_reading(credential)
    modash.loses_answers = True
    assert search(alice).error_code == "outcome_unknown"
    modash.loses_answers = False
    search(alice)
    row = reconciled(credential)
    assert (row.state, row.counted, row.billed, row.unknown) == (State.EXPLAINED_BY_UNKNOWN, 2 * PAGE, PAGE, PAGE)
    assert row.drift == 0


def test_lost_answers_that_were_not_billed_match(serve: Serve, credential: Credential, alice: Tenant) -> None:
    modash = serve(billed_percent=0)
    first_reading(credential)
    modash.loses_answers = True
    search(alice)
    row = reconciled(credential)
    assert (row.state, row.counted, row.unknown) == (State.MATCHES, 0, PAGE)


def test_calls_elsewhere_with_the_key_share_its_account(
    serve: Serve, settings: Settings, credential: Credential, alice: Tenant
) -> None:
    serve()
    first_reading(credential)
    search(alice)
    elsewhere = ask("tiktok-creators", settings.MODASH_BASE_URL.removesuffix("/modash/v1"), KEY)
    row = reconciled(credential)
    assert (row.state, row.billed) == (State.SHARED_ACCOUNT, PAGE)
    assert row.drift == row.counted - PAGE == elsewhere.billed_results * Decimal("0.025")
    assert "shared" in reconciliation.detail(row)
    assert not Event.objects.filter(type="credits.drift_found").exists()


def test_calls_of_another_tenant_with_the_same_key_are_counted(
    serve: Serve, credential: Credential, alice: Tenant, bob: Tenant
) -> None:
    serve()
    theirs = credentials.store(bob, "modash", KEY)
    first_reading(credential)
    search(alice), search(bob)
    # The calls say which key they were made with.
    credentials.remove(theirs)
    row = reconciled(credential)
    assert (row.state, row.calls, row.billed) == (State.MATCHES, 2, 2 * PAGE)
    shown = ReconciliationSerializer(row).data
    assert (shown["calls"], shown["billed"], shown["is_shared"]) == (1, "0.5", True)


def test_another_tenants_open_and_lost_calls_are_not_shown(
    serve: Serve, credential: Credential, alice: Tenant, bob: Tenant
) -> None:
    modash = serve()
    credentials.store(bob, "modash", KEY)
    first_reading(credential)
    modash.loses_answers = True
    search(bob)
    modash.loses_answers = False
    an_hour_passes()
    search(bob)
    row: Any = Reconciliation.objects.get(closing=readings.reconcile(credential))
    assert (row.unknown, row.overlapping) == (PAGE, PAGE)
    shown = ReconciliationSerializer(row).data
    assert (shown["unknown"], shown["overlapping"], shown["is_shared"]) == ("0", "0", True)


def test_the_event_names_what_the_tenants_own_calls_cost(
    serve: Serve, credential: Credential, alice: Tenant, bob: Tenant
) -> None:
    serve(billed_percent=200)
    credentials.store(bob, "modash", KEY)
    first_reading(credential)
    search(alice), search(bob)
    assert reconciled(credential).state == State.UNEXPLAINED
    assert '"billed":"0.5"' in Event.objects.get(type="credits.drift_found").body


def test_calls_with_another_key_are_not_counted(
    serve: Serve, credential: Credential, alice: Tenant, bob: Tenant
) -> None:
    serve()
    credentials.store(bob, "modash", "another-key")
    first_reading(credential)
    search(bob)
    row = reconciled(credential)
    assert (row.state, row.billed, row.calls) == (State.MATCHES, 0, 0)


def test_a_top_up_is_named_and_proves_nothing(serve: Serve, credential: Credential, alice: Tenant) -> None:
    modash = serve()
    first_reading(credential)
    search(alice)
    modash.add(100)
    row = reconciled(credential)
    assert (row.state, row.counted, row.topped_up, row.drift) == (State.TOPPED_UP, PAGE - 100, 100, 0)
    assert not Event.objects.filter(type="credits.drift_found").exists()


def test_a_call_just_before_a_reading_may_be_counted_on_either_side_of_it(
    serve: Serve, credential: Credential, alice: Tenant
) -> None:
    serve()
    first_reading(credential)
    search(alice)
    row: Any = Reconciliation.objects.get(closing=readings.reconcile(credential))
    assert (row.state, row.counted, row.billed, row.overlapping, row.calls) == (State.MATCHES, PAGE, 0, PAGE, 0)
    following = reconciled(credential)
    assert (following.state, following.counted, following.billed) == (State.MATCHES, 0, 0)


def test_a_call_that_is_under_way_counts_for_all_that_it_may_cost(
    serve: Serve, settings: Settings, credential: Credential, alice: Tenant
) -> None:
    serve()
    first_reading(credential)
    submitted(alice)
    assert queue.claim("modash", Policy.objects.get(), lease=HOUR) is not None
    # The provider has billed it, and its answer is on the way.
    source = registry.adapter("tiktok-creators")
    answer_of(source, settings.MODASH_BASE_URL, Secret(value=KEY), page_size=20)
    row = reconciled(credential)
    assert (row.state, row.counted, row.billed, row.overlapping) == (State.MATCHES, PAGE, 0, PAGE)


def test_another_key_is_compared_with_its_own_readings_only(
    serve: Serve, credential: Credential, alice: Tenant
) -> None:
    serve()
    first_reading(credential)
    search(alice)
    credentials.change(credential, secret="another-key")
    assert readings.reconcile(credential).credits == 1_000_000
    assert not Reconciliation.objects.exists()
    credentials.change(credential, secret=KEY)
    row = reconciled(credential)
    assert (row.state, row.counted, row.billed) == (State.MATCHES, PAGE, PAGE)


@pytest.mark.parametrize(
    ("status", "body", "failure"),
    [
        (401, {"error": True, "code": "api_token_invalid", "message": "Bad token"}, BadCredential),
        (503, b"", Faulty),
        (200, b'{"error": false, "user": {', Failure),
    ],
)
def test_a_reading_that_fails_says_why_and_leaves_the_rows(
    provider: Provider,
    settings: Settings,
    credential: Credential,
    status: int,
    body: dict[str, object] | bytes,
    failure: type[Failure],
) -> None:
    settings.MODASH_BASE_URL = provider.url
    provider.answers(GOOD)
    first_reading(credential)
    before = list(Reading.objects.values())
    provider.answers(body, status=status)
    with pytest.raises(failure) as raised:
        readings.reconcile(credential)
    assert list(Reading.objects.values()) == before
    assert not Reconciliation.objects.exists()
    credential.refresh_from_db()
    assert credential.check_problem == raised.value.detail != ""


def test_a_reading_without_an_answer_in_time_leaves_the_rows(serve: Serve, credential: Credential) -> None:
    modash = serve()
    first_reading(credential)
    Policy.objects.update(total_timeout_ms=100)
    modash.stalls = True
    with pytest.raises(Lost):
        readings.reconcile(credential)
    assert Reading.objects.count() == 1


@pytest.mark.parametrize("billing", [{}, {"credits": None}, {"credits": "12"}, {"credits": 1e40}])
def test_an_account_without_a_count_of_credits_is_compared_with_nothing(
    provider: Provider, settings: Settings, credential: Credential, billing: dict[str, object]
) -> None:
    settings.MODASH_BASE_URL = provider.url
    provider.answers({"error": False, "user": {}, "billing": billing})
    with pytest.raises(CannotReconcile, match="did not say how many credits are left"):
        readings.reconcile(credential)
    assert not Reading.objects.exists()


@pytest.mark.parametrize(
    ("provider", "secret", "why"),
    [("keyapi", "sk_live_1", "keyapi does not tell"), ("modash", "sandbox_empty", "A magic key is the sandbox's")],
)
def test_a_key_for_which_nobody_counts_is_not_asked_for(alice: Tenant, provider: str, secret: str, why: str) -> None:
    with pytest.raises(CannotReconcile, match=why):
        readings.reconcile(credentials.store(alice, provider, secret))


def test_keys_are_in_no_row_and_no_log(
    serve: Serve, credential: Credential, alice: Tenant, caplog: pytest.LogCaptureFixture
) -> None:
    serve(billed_percent=200)
    first_reading(credential)
    search(alice)
    row = reconciled(credential)
    rows = [
        *Reading.objects.values(),
        *Reconciliation.objects.values(),
        *Event.objects.values(),
        *Call.objects.values(),
    ]
    assert KEY not in f"{rows} {caplog.text} {reconciliation.detail(row)}"
    assert "differs by" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_two_at_once_are_one_comparison(serve: Serve, credential: Credential, alice: Tenant) -> None:
    serve()
    first_reading(credential)
    search(alice)
    an_hour_passes()
    one, other = at_once([lambda: readings.reconcile(credential)] * 2)
    row: Any = Reconciliation.objects.get()
    assert one == other == row.closing
    assert (row.state, row.counted, Reading.objects.count()) == (State.MATCHES, PAGE, 2)
