"""What becomes of those who ride on a lookup: they share its answer and its failure, and nobody is failed by another's cancel."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from decimal import Decimal
from typing import Any

import pytest
import redis

from accounts.models import Tenant
from billing import ledger
from billing.models import Hold, Price
from providers.failures import BadCredential, Faulty, Lost
from providers.keyring import credentials
from providers.models import Credential, Policy
from searches import tasks
from searches.calls import settlement
from searches.coalescing import matching
from searches.lanes import credential_gate, wakeups
from searches.lifecycle import cancellation, deadlines, erasure
from searches.models import Call, Lookup, Result, Search, Standing
from tests.bench.picture import jpeg
from tests.searches.repeating import (
    PAGE,
    Asker,
    answer,
    answered,
    asker,
    claimed,
    failed,
    in_line,
    landed,
    money,
    only,
    overdue,
    told,
)

pytestmark = pytest.mark.django_db
OnCommit = Callable[..., AbstractContextManager[Any]]


@pytest.fixture
def alice_asks(alice: Tenant) -> Asker:
    return asker(alice)


# The one they ride on ends


def test_a_failure_fails_all_that_ride_at_no_cost(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    failed()
    landed()
    assert told(first, second) == ["failed/miss", "failed/coalesced"]
    told_why = [(e.error_code, e.error_detail, e.error_retryable) for e in (only(first), only(second))]
    assert told_why == [("refused", "Modash refused it.", False)] * 2
    assert money() == (100, 0)


def test_a_failure_that_may_pass_says_so_to_all(alice_asks: Asker) -> None:
    Policy.objects.update(attempts=1)
    alice_asks.ask()
    second = alice_asks.ask()
    failed(Faulty("provider_error", "Try later."))
    landed()
    assert only(second).error_retryable


def test_an_answer_of_several_pages_is_taken_whole(alice_asks: Asker) -> None:
    first = alice_asks.ask(limit=40)
    settlement.answered(claimed(), answer(20, last=False))
    second = alice_asks.ask(limit=40)
    landed()
    assert told(second) == ["queued/coalesced"]
    settlement.answered(claimed(), answer(20, first=15))
    landed()
    assert (only(first).result_count, only(first).duplicates) == (35, 5)
    assert (only(second).result_count, only(second).duplicates) == (35, 5)
    assert list(only(second).results.values_list("rank", "external_id")) == [(n + 1, str(n)) for n in range(35)]


def test_its_end_sends_word_and_the_word_lands_them(
    alice_asks: Asker, redis_client: redis.Redis, django_capture_on_commit_callbacks: OnCommit
) -> None:
    redis_client.flushdb()
    first, second = alice_asks.ask(), alice_asks.ask()
    with django_capture_on_commit_callbacks(execute=True):
        answered()
    assert b"searches.tasks.land" in b"".join(redis_client.lrange("celery:landing", 0, -1))  # type: ignore[arg-type]
    tasks.land(str(only(first).pk))
    assert told(second) == ["succeeded/coalesced"]
    redis_client.flushdb()


def test_the_end_of_one_that_carries_nobody_sends_no_word(
    alice_asks: Asker, django_capture_on_commit_callbacks: OnCommit, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[object] = []
    monkeypatch.setattr(wakeups, "land", sent.append)
    alice_asks.ask()
    with django_capture_on_commit_callbacks(execute=True):
        answered()
    assert sent == []


def test_landing_twice_changes_nothing_more(alice_asks: Asker) -> None:
    alice_asks.ask()
    second = alice_asks.ask()
    answered()
    for _ in range(2):
        landed()
        matching.land(only(second).pk)
    assert only(second).results.count() == 20
    assert Search.objects.get(pk=second.pk).version == second.version + 1
    assert not Lookup.objects.filter(has_followers=True).exists()


def test_nobody_lands_before_the_end(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    matching.land(only(first).pk)
    landed()
    assert told(first, second) == ["queued/miss", "queued/coalesced"]
    assert only(first).has_followers


# The one they ride on is gone


def test_after_a_cancel_the_next_takes_its_place_and_carries_the_others(alice_asks: Asker) -> None:
    first, second, third = alice_asks.ask(), alice_asks.ask(), alice_asks.ask()
    cancellation.cancel(first)
    assert (money(), in_line()) == ((100, 0), 0)
    landed()
    assert told(first, second, third) == ["canceled/miss", "queued/miss", "queued/coalesced"]
    assert only(third).repeat_of == only(second)
    assert (money(), in_line()) == ((100 - PAGE, PAGE), 1)
    answered(6)
    landed()
    assert told(second, third) == ["succeeded/miss", "succeeded/coalesced"]
    assert (Call.objects.count(), only(third).result_count) == (1, 6)


def test_the_next_stands_where_the_canceled_one_stood(alice_asks: Asker) -> None:
    first = alice_asks.ask()
    alice_asks.ask(jpeg(1))
    second = alice_asks.ask()
    cancellation.cancel(first)
    landed()
    assert claimed().lookup == only(second)


def test_a_cancel_of_a_call_under_way_hands_over_when_it_has_ended(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    errand = claimed()
    cancellation.cancel(first)
    landed()
    assert told(second) == ["queued/coalesced"]
    settlement.answered(errand, answer())
    landed()
    assert told(first, second) == ["canceled/miss", "queued/miss"]


def test_who_rides_on_one_whose_outcome_is_unknown_has_no_answer_and_no_cost(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    Policy.objects.update(on_unknown="fail")
    failed(Lost("outcome_unknown", "Lost."))
    landed()
    assert told(first, second) == ["failed/miss", "failed/coalesced"]
    assert (only(first).error_code, only(second).error_code) == ("outcome_unknown", "no_answer")
    assert only(second).error_retryable
    assert "nothing was billed" in only(second).error_detail


def test_when_it_expires_the_next_goes_on(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(expires_in=60), alice_asks.ask()
    overdue(first)
    assert deadlines.expire() == 1
    landed()
    assert told(first, second) == ["expired/miss", "queued/miss"]


def test_when_its_row_is_gone_the_next_goes_on(alice_asks: Asker) -> None:
    first, second, third = alice_asks.ask(), alice_asks.ask(), alice_asks.ask()
    cancellation.cancel(first)
    only(first).delete()
    landed()
    assert told(second, third) == ["queued/miss", "queued/coalesced"]


def test_the_next_pays_the_prices_of_its_own_submit(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    Price.objects.create(source="tiktok-creators", per_result=Decimal(1))
    cancellation.cancel(first)
    landed()
    assert Hold.objects.get().open == PAGE
    assert only(second).price_per_result == Decimal("0.025")


def test_who_cannot_pay_fails_and_the_one_after_is_tried(alice: Tenant) -> None:
    alice_asks = asker(alice, credits=1)
    first, second, third = alice_asks.ask(), alice_asks.ask(), alice_asks.ask()
    Lookup.objects.filter(search=second).update(price_per_result=Decimal("0.06"))
    cancellation.cancel(first)
    landed()
    assert told(second, third) == ["failed/coalesced", "queued/miss"]
    assert only(second).error_code == "insufficient_credits"
    assert "1.2 modash credits, where 1 are available" in only(second).error_detail
    assert (money(), in_line()) == ((Decimal("0.5"), PAGE), 1)


def test_where_nobody_can_pay_all_fail(alice: Tenant) -> None:
    alice_asks = asker(alice, credits=1)
    searches = [alice_asks.ask() for _ in range(3)]
    cancellation.cancel(searches[0])
    ledger.adjust(ledger.account_of(alice, "modash"), Decimal("-0.6"), note="refunded elsewhere")
    landed()
    assert told(*searches[1:]) == ["failed/coalesced"] * 2
    assert (money(), in_line()) == ((Decimal("0.4"), 0), 0)


def test_where_an_equal_one_was_asked_meanwhile_they_ride_on_that(alice_asks: Asker) -> None:
    first, second, third = alice_asks.ask(), alice_asks.ask(), alice_asks.ask()
    cancellation.cancel(first)
    meanwhile = alice_asks.ask()
    assert told(meanwhile) == ["queued/miss"]
    landed()
    assert {only(second).repeat_of, only(third).repeat_of} == {only(meanwhile)}
    assert (money(), in_line()) == ((100 - PAGE, PAGE), 1)
    answered()
    landed()
    assert told(second, third) == ["succeeded/coalesced"] * 2


def test_on_a_dead_key_the_next_waits_for_it_as_at_any_submit(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    failed(BadCredential("credential_invalid", "…"))
    cancellation.cancel(first)
    landed()
    assert only(second).standing == Standing.PARKED
    credentials.store(second.tenant, "modash", "a-new-key")
    credential_gate.unpark()
    assert (only(second).standing, in_line()) == (Standing.READY, 1)


def test_without_a_key_the_next_fails_as_the_others_do(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    cancellation.cancel(first)
    credentials.remove(Credential.objects.get())
    landed()
    assert only(second).error_code == "credential_missing"
    assert money() == (100, 0)


def test_when_the_key_is_deleted_all_that_ride_fail_with_the_one_in_line(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    credentials.remove(Credential.objects.get())
    assert deadlines.fail_without_credential() == 1
    landed()
    assert told(first, second) == ["failed/miss", "failed/coalesced"]
    assert only(second).error_code == "credential_missing"


def test_under_another_scope_the_next_stands_in_the_lane_in_force(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    cancellation.cancel(first)
    Policy.objects.update(scope=Policy.Scope.ACCOUNT)
    landed()
    assert only(second).lane_id == f"modash:{Credential.objects.get().fingerprint[:32]}"
    assert in_line() == 1


# Who rides leaves


def test_who_rides_is_canceled_at_once_and_nobody_else_is(alice_asks: Asker) -> None:
    first, second, third = alice_asks.ask(), alice_asks.ask(), alice_asks.ask()
    cancellation.cancel(second)
    assert told(first, second, third) == ["queued/miss", "canceled/coalesced", "queued/coalesced"]
    assert (money(), in_line()) == ((100 - PAGE, PAGE), 1)
    answered()
    landed()
    assert told(second, third) == ["canceled/coalesced", "succeeded/coalesced"]
    assert not second.results.exists()


def test_a_search_that_rides_on_itself_is_canceled_whole(alice_asks: Asker) -> None:
    search = alice_asks.ask(count=3)
    cancellation.cancel(search)
    landed()
    search.refresh_from_db()
    assert search.status == "canceled"
    assert (money(), in_line()) == ((100, 0), 0)


def test_who_rides_expires_while_the_other_waits(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask(expires_in=60)
    overdue(second)
    assert deadlines.expire() == 1
    assert told(first, second) == ["queued/miss", "expired/coalesced"]
    assert money() == (100 - PAGE, PAGE)


def test_who_rides_does_not_expire_while_the_other_is_under_way(alice_asks: Asker) -> None:
    alice_asks.ask(limit=40)
    second = alice_asks.ask(limit=40)
    errand = claimed()
    overdue(second)
    assert deadlines.expire() == 0
    settlement.answered(errand, answer(last=False))
    assert deadlines.expire() == 0
    settlement.answered(claimed(), answer(first=20))
    assert deadlines.expire() == 0
    landed()
    assert told(second) == ["succeeded/coalesced"]


def test_who_rides_on_one_that_waits_for_its_key_expires(alice_asks: Asker) -> None:
    alice_asks.ask(limit=40)
    second = alice_asks.ask(limit=40)
    settlement.answered(claimed(), answer(last=False))
    failed(BadCredential("credential_invalid", "…"))
    overdue(second)
    assert deadlines.expire() == 1
    assert told(second) == ["expired/coalesced"]


def test_who_is_overdue_takes_nobodys_place(alice_asks: Asker) -> None:
    first, second, third = alice_asks.ask(), alice_asks.ask(), alice_asks.ask()
    cancellation.cancel(first)
    overdue(second)
    landed()
    assert told(second, third) == ["expired/coalesced", "queued/miss"]
    assert (money(), in_line()) == ((100 - PAGE, PAGE), 1)


# The one they ride on is erased


def test_what_is_erased_hands_over_like_what_is_canceled(alice_asks: Asker) -> None:
    first, second, third = alice_asks.ask(), alice_asks.ask(), alice_asks.ask()
    erasure.erase(first)
    landed()
    assert told(second, third) == ["queued/miss", "queued/coalesced"]
    assert (money(), in_line()) == ((100 - PAGE, PAGE), 1)


def test_what_is_erased_in_the_middle_of_its_call_hands_over_when_that_has_ended(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    errand = claimed()
    erasure.erase(first)
    settlement.answered(errand, answer())
    landed()
    assert told(second) == ["queued/miss"]
    assert not Result.objects.exists()


def test_what_is_erased_once_it_has_ended_answers_nobody_who_rode_on_it(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    answered()
    erasure.erase(first)
    landed()
    assert told(second) == ["queued/miss"]
    assert not Result.objects.exists()


def test_what_is_erased_answers_no_later_one(alice_asks: Asker) -> None:
    first = alice_asks.ask()
    answered()
    erasure.erase(first)
    assert told(alice_asks.ask()) == ["queued/miss"]


def test_who_took_an_answer_keeps_it_when_the_first_is_erased(alice_asks: Asker) -> None:
    first = alice_asks.ask()
    answered(3)
    second = alice_asks.ask()
    erasure.erase(first)
    assert second.results.count() == 3
    assert told(alice_asks.ask()) == ["queued/miss"]


def test_who_rides_and_is_erased_leaves_the_others_alone(alice_asks: Asker) -> None:
    first, second, third = alice_asks.ask(), alice_asks.ask(), alice_asks.ask()
    erasure.erase(second)
    answered(3)
    landed()
    assert told(first, second, third) == ["succeeded/miss", "canceled/coalesced", "succeeded/coalesced"]
    assert not second.results.exists()
