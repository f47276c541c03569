"""Followers share their leader's answer and its failure, but not its cancel, expiry or erasure."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any

import pytest
import redis

from accounts.models import Tenant
from billing import ledger
from billing.models import Hold, Price, TenantCap
from providers.failures import BadCredential, Faulty, Lost
from providers.keyring import credentials
from providers.models import Credential, Policy
from searches import tasks
from searches.calls import outcomes
from searches.coalescing import followers
from searches.lanes import credential_gate, wakeups
from searches.lifecycle import cancellation, deadlines
from searches.models import Call, Lookup, QueueState, Search
from tests.bench.picture import jpeg
from tests.billing.test_ledger import adjust
from tests.searches.repeating import (
    PAGE,
    Asker,
    answer,
    answered,
    asker,
    claim_next,
    failed,
    in_line,
    money,
    only,
    overdue,
    resolved,
    statuses,
)

pytestmark = pytest.mark.django_db
OnCommit = Callable[..., AbstractContextManager[Any]]


@pytest.fixture
def alice_asks(alice: Tenant) -> Asker:
    return asker(alice)


# The leader ends


def test_a_failure_fails_all_followers_at_no_cost(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    failed()
    resolved()
    assert statuses(first, second) == ["failed/miss", "failed/coalesced"]
    errors = [(e.error_code, e.error_detail, e.error_retryable) for e in (only(first), only(second))]
    assert errors == [("refused", "Modash refused it.", False)] * 2
    assert money() == (100, 0)


def test_a_failure_that_may_pass_is_retryable_for_all(alice_asks: Asker) -> None:
    Policy.objects.update(attempts=1)
    alice_asks.ask()
    second = alice_asks.ask()
    failed(Faulty("provider_error", "Try later."))
    resolved()
    assert only(second).error_retryable


def test_an_answer_of_several_pages_is_taken_whole(alice_asks: Asker) -> None:
    first = alice_asks.ask(limit=40)
    outcomes.answered(claim_next(), answer(20, last=False))
    second = alice_asks.ask(limit=40)
    resolved()
    assert statuses(second) == ["queued/coalesced"]
    outcomes.answered(claim_next(), answer(20, first=15))
    resolved()
    assert (only(first).result_count, only(first).duplicates) == (35, 5)
    assert (only(second).result_count, only(second).duplicates) == (35, 5)
    assert list(only(second).results.values_list("rank", "external_id")) == [(n + 1, str(n)) for n in range(35)]


def test_the_end_of_a_leader_sends_a_wake_up_that_resolves_its_followers(
    alice_asks: Asker, redis_client: redis.Redis, django_capture_on_commit_callbacks: OnCommit
) -> None:
    redis_client.flushdb()
    first, second = alice_asks.ask(), alice_asks.ask()
    with django_capture_on_commit_callbacks(execute=True):
        answered()
    assert "searches.tasks.land" in str(redis_client.lrange("celery:followers", 0, -1))
    tasks.resolve_followers(str(only(first).pk))
    assert statuses(second) == ["succeeded/coalesced"]
    redis_client.flushdb()


def test_the_end_of_a_lookup_without_followers_sends_no_wake_up(
    alice_asks: Asker, django_capture_on_commit_callbacks: OnCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[object] = []
    monkeypatch.setattr(wakeups, "resolve_followers", sent.append)
    alice_asks.ask()
    with django_capture_on_commit_callbacks(execute=True):
        answered()
    assert sent == []


def test_resolving_twice_changes_nothing_more(alice_asks: Asker) -> None:
    alice_asks.ask()
    second = alice_asks.ask()
    answered()
    for _ in range(2):
        resolved()
        followers.resolve(only(second).pk)
    assert only(second).results.count() == 20
    assert Search.objects.get(pk=second.pk).version == second.version + 1
    assert not Lookup.objects.filter(has_followers=True).exists()


def test_no_follower_is_resolved_before_the_end(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    followers.resolve(only(first).pk)
    resolved()
    assert statuses(first, second) == ["queued/miss", "queued/coalesced"]
    assert only(first).has_followers


# The leader is gone


def test_after_a_cancel_the_next_is_promoted_and_leads_the_others(alice_asks: Asker) -> None:
    first, second, third = alice_asks.ask(), alice_asks.ask(), alice_asks.ask()
    cancellation.cancel(first)
    assert (money(), in_line()) == ((100, 0), 0)
    resolved()
    assert statuses(first, second, third) == ["canceled/miss", "queued/miss", "queued/coalesced"]
    assert only(third).repeat_of == only(second)
    assert (money(), in_line()) == ((100 - PAGE, PAGE), 1)
    answered(6)
    resolved()
    assert statuses(second, third) == ["succeeded/miss", "succeeded/coalesced"]
    assert (Call.objects.count(), only(third).result_count) == (1, 6)


def test_the_promoted_follower_has_the_position_of_the_canceled_leader(alice_asks: Asker) -> None:
    first = alice_asks.ask()
    alice_asks.ask(jpeg(1))
    second = alice_asks.ask()
    cancellation.cancel(first)
    resolved()
    assert claim_next().lookup == only(second)


def test_a_cancel_of_a_call_under_way_promotes_when_it_has_ended(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    claimed = claim_next()
    cancellation.cancel(first)
    resolved()
    assert statuses(second) == ["queued/coalesced"]
    outcomes.answered(claimed, answer())
    resolved()
    assert statuses(first, second) == ["canceled/miss", "queued/miss"]


def test_followers_of_an_unknown_outcome_have_no_answer_and_no_cost(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    Policy.objects.update(on_unknown="fail")
    failed(Lost("outcome_unknown", "Lost."))
    resolved()
    assert statuses(first, second) == ["failed/miss", "failed/coalesced"]
    assert (only(first).error_code, only(second).error_code) == ("outcome_unknown", "no_answer")
    assert only(second).error_retryable
    assert "nothing was billed" in only(second).error_detail


def test_when_the_leader_expires_the_next_is_promoted(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(expires_in=60), alice_asks.ask()
    overdue(first)
    assert deadlines.expire() == 1
    resolved()
    assert statuses(first, second) == ["expired/miss", "queued/miss"]


def test_when_the_leaders_row_is_gone_the_next_is_promoted(alice_asks: Asker) -> None:
    first, second, third = alice_asks.ask(), alice_asks.ask(), alice_asks.ask()
    cancellation.cancel(first)
    only(first).delete()
    resolved()
    assert statuses(second, third) == ["queued/miss", "queued/coalesced"]


def test_the_promoted_follower_pays_the_prices_of_its_own_submit(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    Price.objects.create(source="tiktok-creators", per_result=Decimal(1))
    cancellation.cancel(first)
    resolved()
    assert Hold.objects.get().open == PAGE
    assert only(second).price_per_result == Decimal("0.025")


def test_a_follower_that_cannot_pay_fails_and_the_next_is_tried(alice: Tenant) -> None:
    alice_asks = asker(alice, credits=1)
    first, second, third = alice_asks.ask(), alice_asks.ask(), alice_asks.ask()
    Lookup.objects.filter(search=second).update(price_per_result=Decimal("0.06"))
    cancellation.cancel(first)
    resolved()
    assert statuses(second, third) == ["failed/coalesced", "queued/miss"]
    assert only(second).error_code == "insufficient_credits"
    assert "1.2 modash credits, and 1 are available" in only(second).error_detail
    assert (money(), in_line()) == ((Decimal("0.5"), PAGE), 1)


def test_a_promoted_follower_keeps_the_caps_as_a_submit_would(alice: Tenant, alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    TenantCap.objects.create(tenant=alice, provider="modash", amount=Decimal("0.4"))
    cancellation.cancel(first)
    resolved()
    assert (statuses(second), only(second).error_code) == (["failed/coalesced"], "tenant_cap_reached")
    assert "0.5 modash credits, and your cap is 0.4 a month (0 used, 0 held)" in only(second).error_detail
    assert (money()[1], in_line()) == (0, 0)


def test_a_promoted_follower_keeps_the_max_credits_of_its_own_search(alice_asks: Asker) -> None:
    first, second, third = (alice_asks.ask() for _ in range(3))
    Search.objects.filter(pk=second.pk).update(max_credits={"modash": "0.4"})
    cancellation.cancel(first)
    resolved()
    assert statuses(second, third) == ["failed/coalesced", "queued/miss"]
    assert only(second).error_code == "max_credits_too_low"


def test_all_followers_fail_if_none_can_pay(alice: Tenant) -> None:
    alice_asks = asker(alice, credits=1)
    searches = [alice_asks.ask() for _ in range(3)]
    cancellation.cancel(searches[0])
    adjust(ledger.account_of(alice, "modash"), Decimal("-0.6"))
    resolved()
    assert statuses(*searches[1:]) == ["failed/coalesced"] * 2
    assert (money(), in_line()) == ((Decimal("0.4"), 0), 0)


def test_an_equal_lookup_submitted_meanwhile_becomes_the_leader(alice_asks: Asker) -> None:
    first, second, third = alice_asks.ask(), alice_asks.ask(), alice_asks.ask()
    cancellation.cancel(first)
    meanwhile = alice_asks.ask()
    assert statuses(meanwhile) == ["queued/miss"]
    resolved()
    assert {only(second).repeat_of, only(third).repeat_of} == {only(meanwhile)}
    assert (money(), in_line()) == ((100 - PAGE, PAGE), 1)
    answered()
    resolved()
    assert statuses(second, third) == ["succeeded/coalesced"] * 2


def test_on_a_dead_key_the_promoted_follower_waits_as_at_any_submit(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    failed(BadCredential("credential_invalid", "…"))
    cancellation.cancel(first)
    resolved()
    assert only(second).queue_state == QueueState.BLOCKED
    credentials.store(second.tenant, "modash", "a-new-key")
    credential_gate.unblock()
    assert (only(second).queue_state, in_line()) == (QueueState.READY, 1)


def test_without_a_key_the_next_fails_too(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    cancellation.cancel(first)
    credentials.remove(Credential.objects.get())
    resolved()
    assert only(second).error_code == "credential_missing"
    assert money() == (100, 0)


def test_when_the_key_is_deleted_all_followers_fail_with_their_leader(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    credentials.remove(Credential.objects.get())
    assert deadlines.fail_without_credential() == 1
    resolved()
    assert statuses(first, second) == ["failed/miss", "failed/coalesced"]
    assert only(second).error_code == "credential_missing"


def test_under_another_scope_the_promoted_follower_is_in_the_lane_in_force(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    cancellation.cancel(first)
    Policy.objects.update(scope=Policy.Scope.ACCOUNT)
    resolved()
    assert only(second).lane_id == f"modash:{Credential.objects.get().fingerprint[:32]}"
    assert in_line() == 1


# A follower leaves


def test_a_follower_is_canceled_at_once_and_alone(alice_asks: Asker) -> None:
    first, second, third = alice_asks.ask(), alice_asks.ask(), alice_asks.ask()
    cancellation.cancel(second)
    assert statuses(first, second, third) == ["queued/miss", "canceled/coalesced", "queued/coalesced"]
    assert (money(), in_line()) == ((100 - PAGE, PAGE), 1)
    answered()
    resolved()
    assert statuses(second, third) == ["canceled/coalesced", "succeeded/coalesced"]
    assert not second.results.exists()


def test_a_search_that_follows_itself_is_canceled_whole(alice_asks: Asker) -> None:
    search = alice_asks.ask(count=3)
    cancellation.cancel(search)
    resolved()
    search.refresh_from_db()
    assert search.status == "canceled"
    assert (money(), in_line()) == ((100, 0), 0)


def test_a_follower_expires_while_its_leader_waits(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask(expires_in=60)
    overdue(second)
    assert deadlines.expire() == 1
    assert statuses(first, second) == ["queued/miss", "expired/coalesced"]
    assert money() == (100 - PAGE, PAGE)


def test_a_follower_does_not_expire_while_its_leader_is_under_way(alice_asks: Asker) -> None:
    alice_asks.ask(limit=40)
    second = alice_asks.ask(limit=40)
    claimed = claim_next()
    overdue(second)
    assert deadlines.expire() == 0
    outcomes.answered(claimed, answer(last=False))
    assert deadlines.expire() == 0
    outcomes.answered(claim_next(), answer(first=20))
    assert deadlines.expire() == 0
    resolved()
    assert statuses(second) == ["succeeded/coalesced"]


def test_a_follower_expires_while_its_leader_waits_for_its_key(alice_asks: Asker) -> None:
    alice_asks.ask(limit=40)
    second = alice_asks.ask(limit=40)
    outcomes.answered(claim_next(), answer(last=False))
    failed(BadCredential("credential_invalid", "…"))
    overdue(second)
    assert deadlines.expire() == 1
    assert statuses(second) == ["expired/coalesced"]


def test_an_overdue_follower_is_not_promoted(alice_asks: Asker) -> None:
    first, second, third = alice_asks.ask(), alice_asks.ask(), alice_asks.ask()
    cancellation.cancel(first)
    overdue(second)
    resolved()
    assert statuses(second, third) == ["expired/coalesced", "queued/miss"]
    assert (money(), in_line()) == ((100 - PAGE, PAGE), 1)
