"""One call and its settlement, over real sockets, with the sandbox or with a provider that answers what a test wants."""

from __future__ import annotations

import socket
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
import redis
from pytest_django import Settings

from accounts import clock, keys
from accounts.models import Mode, Tenant
from billing import audit, grants, ledger
from billing.models import Account, Entry, Grant
from providers import limiter, policies, registry
from providers.failures import Throttled
from providers.keyring import credentials
from providers.models import Credential, Policy
from searches import pictures
from searches.calls import outcomes, worker
from searches.lanes import credential_gate, directory, pauses, queue
from searches.lifecycle import cancellation, deadlines
from searches.models import Call, Lane, Lookup, QueueState, Search, Status, TenantQueue
from searches.orders import submission
from searches.orders.order import LookupOrder, Order
from tests.bench.picture import jpeg
from tests.billing import passing
from tests.billing.test_ledger import adjust
from tests.config.test_log_lines import lines
from tests.providers.conftest import Provider, Site

pytestmark = pytest.mark.django_db
Submit = Callable[..., Search]
FOUND = {
    "userId": "1",
    "username": "one",
    "profilePicture": "https://p/1.jpg",
    "followersCount": 5,
    "engagementRate": 0.1,
}
ONE_CREATOR = FOUND | {"matchedPosts": [], "recentPosts": [], "accountCategory": ""}


@pytest.fixture(autouse=True)
def brisk(db: None, redis_client: redis.Redis) -> None:
    """Makes a lane without waits, whose log began long ago."""
    policies.of("modash")
    Policy.objects.update(calls=1000, window_ms=10, guard_ms=0, page_size=20, total_timeout_ms=2000)
    redis_client.flushdb()
    waiter().limiter.pause(seconds=0)
    redis_client.hset("lane:{modash}", "log_began", 0)


def waiter() -> limiter.Waiter:
    return policies.lane_limiter("modash", Policy.objects.get()).waiter("mine")


def claim_next() -> tuple[queue.ClaimedLookup, limiter.Token]:
    """Claims a lookup, and returns it with a token for its call."""
    claimed = queue.claim("modash", Policy.objects.get(), lease=timedelta(seconds=10))
    assert claimed is not None
    mine = waiter()
    mine.start(seconds=30)
    return claimed, limiter.Token(waiter=mine, call=str(claimed.call.pk))


@pytest.fixture
def submit(alice: Tenant) -> Submit:
    credentials.store(alice, "modash", "a-modash-key")
    ledger.grant(ledger.account_of(alice, "modash"), Decimal(10))
    key = keys.issue(alice, Mode.LIVE)[0]

    def submit(**lookup: Any) -> Search:
        order = Order(lookups=[LookupOrder(source="tiktok-creators", parameters={}, **{"limit": 20} | lookup)])
        fit = {"modash": registry.adapter("tiktok-creators").picture_limits}
        with pictures.received(alice, jpeg(), fit=fit) as picture:
            return submission.submit(key, order, picture).search

    return submit


@pytest.fixture
def at(settings: Settings) -> Callable[[str], None]:
    """Returns a function that sets the address of Modash."""

    def at(url: str) -> None:
        settings.MODASH_BASE_URL = url

    return at


def visit(times: int = 1) -> Lookup:
    """Lets a worker visit the lane, and returns the only lookup."""
    for _ in range(times):
        worker.run("modash", str(uuid4()))
    return Lookup.objects.get()


def money(lookup: Lookup) -> tuple[float, float, float]:
    """Returns the credits held, charged and unknown, after an audit of the ledger."""
    assert audit.differences() == []
    tally = ledger.tallies([lookup.reference])[lookup.reference]
    return float(tally.held), float(tally.charged), float(tally.unknown)


def error_of(lookup: Lookup) -> str:
    return f"{lookup.status} {lookup.error_code}".strip()


def test_a_search_is_charged_for_its_results_and_the_rest_is_released(
    submit: Submit, at: Callable[[str], None], site: Site
) -> None:
    at(f"{site.url}/modash/v1")
    search = submit(limit=20)
    lookup = visit()
    assert (lookup.status, lookup.result_count) == (Status.SUCCEEDED, 20)
    assert [result.rank for result in lookup.results.all()] == list(range(1, 21))
    assert money(lookup) == (0, 0.5, 0)
    search.refresh_from_db()
    assert (search.status, search.finished_at is not None, search.version) == ("succeeded", True, 3)
    call = Call.objects.get()
    assert call.credits == Decimal("0.5")
    assert call.sent_at is not None
    assert call.finished_at is not None
    assert call.armed_at < call.sent_at < call.finished_at <= clock.now()


def test_a_search_goes_on_with_what_it_holds_of_a_grant_that_expires_meanwhile(
    submit: Submit, at: Callable[[str], None], site: Site, alice: Tenant
) -> None:
    """The search holds 1.5 of a grant of 2. The first page is charged before the grant expires, and the others after it."""
    at(f"{site.url}/modash/v1")
    account = ledger.account_of(alice, "modash")
    ledger.grant(account, Decimal(2), priority=0, expires_at=passing.expires_in(days=1))
    submit(limit=60)
    visit()
    passing.days_pass(2)
    grants.expire_due()
    lookup = visit(2)
    assert (lookup.status, lookup.result_count) == ("succeeded", 60)
    assert money(lookup) == (0, 1.5, 0)
    account.refresh_from_db()
    assert account.posted == 10
    assert Grant.objects.get(priority=0).expired == Decimal("0.5")


def test_what_a_search_does_not_use_of_a_grant_that_expired_meanwhile_expires(submit: Submit, alice: Tenant) -> None:
    account = ledger.account_of(alice, "modash")
    ledger.grant(account, Decimal(2), priority=0, expires_at=passing.expires_in(days=1))
    search = submit(limit=60)
    passing.days_pass(2)
    cancellation.cancel(search)
    kinds = list(Entry.objects.order_by("number").values_list("kind", "amount"))
    assert kinds[-3:] == [("expiry", Decimal("0.5")), ("release", Decimal("1.5")), ("expiry", Decimal("1.5"))]
    assert money(Lookup.objects.get()) == (0, 0, 0)


def test_each_page_takes_its_own_turn(submit: Submit, at: Callable[[str], None], site: Site) -> None:
    at(f"{site.url}/modash/v1")
    submit(limit=60)
    lookup = visit()
    assert (lookup.status, lookup.queue_state, lookup.pages_done) == ("running", "ready", 1)
    assert money(lookup) == (1, 0.5, 0)
    lookup = visit(2)
    assert (lookup.status, lookup.result_count, lookup.calls.count()) == ("succeeded", 60, 3)
    assert len(set(lookup.results.values_list("external_id", flat=True))) == 60


def test_an_equal_hit_on_a_later_page_is_counted_and_not_kept_twice(
    submit: Submit, at: Callable[[str], None], provider: Provider
) -> None:
    at(provider.url)
    provider.answers({"error": False, "total": 40, "profiles": [ONE_CREATOR]})
    submit(limit=40)
    lookup = visit(2)
    assert (lookup.result_count, lookup.duplicates) == (1, 1)
    assert money(lookup)[1] == 0.05


def test_a_total_too_large_for_its_column_is_dropped_and_the_answer_is_kept(
    submit: Submit, at: Callable[[str], None], provider: Provider
) -> None:
    at(provider.url)
    provider.answers({"error": False, "total": 10**12, "profiles": [ONE_CREATOR]})
    submit()
    lookup = visit()
    assert (lookup.status, lookup.result_count, lookup.total) == (Status.SUCCEEDED, 1, None)


def test_nothing_found_is_an_empty_success_at_no_cost(
    submit: Submit, at: Callable[[str], None], provider: Provider
) -> None:
    at(provider.url)
    provider.answers({"error": True, "code": "no_result", "message": "Nothing"}, status=404)
    submit()
    lookup = visit()
    assert (lookup.status, lookup.result_count) == (Status.SUCCEEDED, 0)
    assert money(lookup) == (0, 0, 0)


def test_throttling_lets_the_key_rest_and_is_not_counted(
    submit: Submit, at: Callable[[str], None], provider: Provider
) -> None:
    at(provider.url)
    provider.answers({"error": True, "code": "x", "message": "slow down"}, status=429, headers={"Retry-After": "30"})
    submit()
    lookup = visit()
    assert (lookup.status, lookup.queue_state, lookup.attempts) == ("running", "ready", 0)
    until = Credential.objects.get().rests_until
    assert until is not None
    assert timedelta(seconds=25) < until - clock.now() <= timedelta(seconds=30)
    assert money(lookup) == (0.5, 0, 0)


def test_a_call_that_was_claimed_before_its_keys_rest_is_not_sent(
    submit: Submit, at: Callable[[str], None], provider: Provider
) -> None:
    at(provider.url)
    submit()
    waiter().limiter.rest_key(pauses.resting_name(Credential.objects.get()), seconds=30)
    lookup = visit()
    assert (lookup.queue_state, Call.objects.count(), provider.body) == ("ready", 0, b"")


def test_a_fault_is_tried_again_later_and_ends_after_the_last_attempt(
    submit: Submit, at: Callable[[str], None], provider: Provider
) -> None:
    at(provider.url)
    provider.answers({"error": True, "code": "internal_server_error", "message": "Oops"}, status=500)
    submit()
    for attempt in (1, 2, 3):
        lookup = visit()
        assert (lookup.queue_state, lookup.attempts) == ("delayed", attempt)
        wake()
    lookup = visit()
    assert error_of(lookup) == "failed provider_error"
    assert lookup.error_retryable
    assert money(lookup) == (0, 0, 0)
    assert Call.objects.filter(state=Call.State.FAILED).count() == 4


def test_a_call_that_was_never_sent_costs_nothing(submit: Submit, at: Callable[[str], None]) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        at(f"http://127.0.0.1:{nobody.getsockname()[1]}")
        submit()
        lookup = visit()
    assert (lookup.queue_state, lookup.attempts) == ("delayed", 1)


def test_a_dead_key_blocks_the_tenants_lookups_until_it_is_replaced(
    submit: Submit, at: Callable[[str], None], provider: Provider, alice: Tenant
) -> None:
    at(provider.url)
    provider.answers({"error": True, "code": "api_token_invalid", "message": "Bad token"}, status=401)
    submit()
    lookup = visit()
    assert (lookup.status, lookup.queue_state) == ("running", "blocked")
    assert Credential.objects.get().state == "invalid"
    provider.answers({"error": False, "total": 0, "profiles": []})
    credentials.store(alice, "modash", "a-new-key")
    assert credential_gate.unblock() == ["modash"]
    assert visit().status == Status.SUCCEEDED
    assert Credential.objects.get().state == "verified"


def test_an_answer_of_the_sandbox_does_not_change_a_live_key(
    submit: Submit, provider: Provider, settings: Settings, alice: Tenant
) -> None:
    settings.SANDBOX_URL = provider.url
    provider.answers({"error": True, "code": "not_enough_credits", "message": "None left"}, status=402)
    credential = credentials.store(alice, "modash", "a-live-key")
    submit()
    lane = directory.lane_of(policies.of("modash"), mode=Mode.TEST, tenant_id=alice.pk)
    Search.objects.update(mode=Mode.TEST)
    Lookup.objects.update(lane=lane, price_per_result=0)
    TenantQueue.objects.update(lane=lane)
    worker.run(lane.name, "a-waiter")
    credential.refresh_from_db()
    assert (Lookup.objects.get().status, credential.state) == (Status.FAILED, "unknown")


def test_an_unreadable_answer_fails_and_what_may_be_billed_stays_held(
    submit: Submit, at: Callable[[str], None], provider: Provider, caplog: pytest.LogCaptureFixture
) -> None:
    at(provider.url)
    provider.answers(b"<html>so sorry</html>")
    submit(limit=40)
    lookup = visit()
    assert error_of(lookup) == "failed outcome_unknown"
    assert Call.objects.get().error_code == "unreadable_answer"
    assert money(lookup) == (0, 0, 0.5)
    assert "so sorry" in Call.objects.get().excerpt
    alerts = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert alerts == [f"lookup {lookup.pk}: unreadable_answer, so Fail"]


def test_a_refusal_is_settled_while_redis_is_unreachable(submit: Submit, settings: Settings) -> None:
    submit()
    claimed, _ = claim_next()
    with socket.create_server(("127.0.0.1", 0)) as gone:
        settings.REDIS_URL = f"redis://127.0.0.1:{gone.getsockname()[1]}"
    outcomes.failed(claimed, Policy.objects.get(), Throttled("rate_limited", "…", retry_after=30))
    lookup = Lookup.objects.get()
    assert (lookup.queue_state, Call.objects.get().state) == ("ready", "failed")
    assert Credential.objects.get().rests_until is not None
    assert money(lookup) == (0.5, 0, 0)


def test_a_lost_answer_is_asked_for_once_more_under_a_second_hold(
    submit: Submit, at: Callable[[str], None], provider: Provider
) -> None:
    at(provider.url)
    provider.reply = (200, [("Content-Length", "1000")], b"cut")
    submit()
    lookup = visit()
    assert (lookup.queue_state, lookup.unknown_calls) == ("ready", 1)
    assert money(lookup) == (0.5, 0, 0.5)
    provider.answers({"error": False, "total": 1, "profiles": [ONE_CREATOR]})
    lookup = visit()
    assert lookup.status == Status.SUCCEEDED
    assert money(lookup) == (0, 0.025, 0.5)
    assert Account.objects.get().available == Decimal("9.475")


def test_a_lost_answer_fails_where_there_is_no_room_for_a_second_hold(
    submit: Submit, at: Callable[[str], None], provider: Provider, alice: Tenant
) -> None:
    at(provider.url)
    provider.reply = (200, [("Content-Length", "1000")], b"cut")
    submit()
    adjust(ledger.account_of(alice, "modash"), Decimal("-9.4"))
    lookup = visit()
    assert lookup.status == Status.FAILED
    assert money(lookup) == (0, 0, 0.5)


def test_a_waiting_lookup_whose_time_is_up_expires_at_no_cost(submit: Submit) -> None:
    search = submit()
    Lookup.objects.update(expires_at=clock.now())
    assert deadlines.expire() == 1
    lookup = Lookup.objects.get()
    assert lookup.status == Status.EXPIRED
    assert money(lookup) == (0, 0, 0)
    search.refresh_from_db()
    assert search.status == Status.EXPIRED


def test_a_key_that_cannot_be_opened_needs_re_entry_and_stops_nothing_else(submit: Submit) -> None:
    submit()
    Credential.objects.update(sealed=b"no longer what it was")
    lookup = visit()
    assert lookup.queue_state == QueueState.BLOCKED
    assert "re-entry" in Call.objects.get().error_detail


def wake() -> None:
    Lookup.objects.update(queue_state=QueueState.READY, not_before=None)
    lane = Lane.objects.get()
    lane.tenant_queues.update(ready=1, wake_at=None)


def test_the_lines_of_a_call_name_its_search_and_its_lookup(submit: Submit, at: Callable[[str], None]) -> None:
    at("http://127.0.0.1:9")
    search = submit()
    with lines() as written:
        lookup = visit()
    assert f"[search={search.pk} lookup={lookup.pk} call=" in written.getvalue()
