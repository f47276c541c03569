"""A settlement sends few statements, and none that only a rare case needs. The rare cases follow."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from accounts import clock
from accounts.models import Mode, Tenant
from accounts.webhooks import endpoints
from billing import grants, ledger
from billing.models import Entry
from providers.contract import Answer
from providers.failures import Faulty, Garbled, Lost, Refused
from providers.models import Credential, Policy
from searches.calls import outcomes, settlement
from searches.lanes.queue import ClaimedLookup
from searches.lifecycle import cancellation
from searches.models import Call, Lane, Lookup, Result, Search
from tests.billing.passing import expires_in, has_ended
from tests.racing import at_once
from tests.searches.lives import PAGE, Submit, answer, claim_next, money, states

pytestmark = pytest.mark.django_db

TABLE = re.compile(r"(SELECT|UPDATE|INSERT|DELETE)\b.*?\b((?:accounts|billing|providers|searches)_\w+)", re.DOTALL)


def proven() -> ClaimedLookup:
    """Claims a lookup whose key has worked before, as most keys have. Its call was sent and answered."""
    Credential.objects.update(state=Credential.State.VERIFIED)
    claimed = claim_next()
    claimed.call.sent_at = claimed.call.finished_at = clock.now()
    return claimed


def asked(settle: Callable[[], None]) -> list[str]:
    """Returns each statement's verb and table, in their order."""
    with CaptureQueriesContext(connection) as captured:
        settle()
    found = (TABLE.search(query["sql"]) for query in captured.captured_queries)
    return [f"{match[1]} {match[2]}" for match in found if match]


def settled(claimed: ClaimedLookup, came: Answer) -> list[str]:
    return asked(lambda: outcomes.answered(claimed, came))


LAST_PAGE = [
    # The lookup and its search.
    "SELECT searches_lock",
    "UPDATE searches_call",
    "INSERT searches_result",
    "UPDATE searches_lookup",
    "SELECT billing_charge_and_release",
    "SELECT searches_count",
    "SELECT accounts_endpoint",
]


def test_a_lookup_ends_in_seven_statements(submit: Submit) -> None:
    submit()
    assert settled(proven(), answer()) == LAST_PAGE


def test_a_grant_that_expires_while_its_search_runs_pays_for_the_search_and_nothing_else(
    submit: Submit, alice: Tenant
) -> None:
    account = ledger.account_of(alice, "modash")
    ledger.grant(account, 2 * PAGE, expires_at=expires_in(days=1))
    submit(pages=2)
    claimed = proven()
    has_ended(2)
    grants.expire_due()
    outcomes.answered(claimed, answer(12, last=True))
    cost = 12 * Decimal("0.025")
    assert money() == (100, 0)
    assert [entry.amount for entry in Entry.objects.filter(kind="charge")] == [cost]
    assert [entry.amount for entry in Entry.objects.filter(kind="expiry")] == [2 * PAGE - cost]


def test_one_statement_finds_the_endpoints_for_a_lookup_and_for_its_search(submit: Submit, alice: Tenant) -> None:
    endpoints.create(alice, Mode.LIVE, url="https://alice.example/hooks", events=["credits.settled"])
    submit()
    assert settled(proven(), answer()) == LAST_PAGE


def test_a_page_that_is_not_the_last_takes_nine_statements(submit: Submit) -> None:
    submit(pages=2)
    assert settled(proven(), answer()) == [
        # The queue is locked first, because the lookup returns to it.
        "SELECT searches_tenantqueue",
        *("SELECT searches_lock", "UPDATE searches_call", "INSERT searches_result"),
        "SELECT billing_charge_and_release",
        # The credential may have been found dead meanwhile.
        "SELECT searches_lookup",
        *("UPDATE searches_lookup", "UPDATE searches_tenantqueue", "SELECT searches_count"),
    ]


def test_a_refusal_takes_six_statements(submit: Submit) -> None:
    submit()
    claimed, policy = proven(), Policy.objects.get()
    assert asked(lambda: outcomes.failed(claimed, policy, Refused("refused", "No."))) == [
        one for one in LAST_PAGE if one != "INSERT searches_result"
    ]


# Rows that are saved together


def test_a_lookup_keeps_the_results_of_its_calls_in_every_next_queue_state(submit: Submit) -> None:
    submit(pages=3)
    policy = Policy.objects.get()
    outcomes.answered(claim_next(), answer(7))
    outcomes.failed(claim_next(), policy, Lost("outcome_unknown", "…"))
    outcomes.failed(claim_next(), policy, Faulty("provider_error", "…"))
    lookup = Lookup.objects.get()
    assert (lookup.status, lookup.queue_state) == ("running", "delayed")
    assert (lookup.pages_done, lookup.attempts, lookup.unknown_calls, lookup.result_count) == (1, 1, 1, 7)


@pytest.mark.django_db(transaction=True)
def test_lookups_that_are_answered_at_once_count_their_results_in_one_search(submit: Submit) -> None:
    search = submit(6)
    claims = [claim_next() for _ in range(6)]
    at_once([partial(outcomes.answered, claimed, answer(number)) for number, claimed in enumerate(claims)])
    assert states(search) == "succeeded: " + " ".join(["succeeded"] * 6)
    assert search.results_count == 15
    assert sorted(Result.objects.values_list("sequence", flat=True)) == list(range(1, 16))
    assert money() == (100 - 15 * Decimal("0.025"), 0)


def test_a_result_was_seen_when_its_answer_came(submit: Submit) -> None:
    submit()
    claimed = proven()
    outcomes.answered(claimed, answer(2))
    assert set(Result.objects.values_list("observed_at", flat=True)) == {claimed.call.finished_at}


def test_a_cancel_of_several_is_one_change(submit: Submit) -> None:
    search = submit(3)
    cancellation.cancel(search)
    assert Search.objects.get().version == search.version + 1


def test_a_working_key_and_lane_are_noted_also_when_the_call_was_settled_before(submit: Submit) -> None:
    """A worker that loses the database between a settlement and the notes about it repeats both."""
    submit()
    Lane.objects.update(backoff=1)
    claimed = claim_next()
    settlement.answered(claimed, answer())
    assert (Credential.objects.get().state, Lane.objects.get().backoff) == ("unknown", 1)
    outcomes.answered(claimed, answer())
    assert (Credential.objects.get().state, Lane.objects.get().backoff) == ("verified", 0)
    assert money() == (100 - PAGE, 0)


# Billed above what was held


def test_calls_that_are_billed_above_what_was_held_say_what_was_charged(submit: Submit) -> None:
    submit(pages=3)
    for results in (50, 100, 20):
        outcomes.answered(claim_next(), answer(results))
    assert list(Call.objects.values_list("credits", flat=True)) == [50 * Decimal("0.025"), Decimal("0.25"), 0]
    assert money() == (100 - 3 * PAGE, 0)


def test_a_garbled_answer_that_is_billed_says_what_was_charged(submit: Submit) -> None:
    submit()
    garbled = Garbled("garbled", "…", status=200, billed_results=4)
    outcomes.failed(claim_next(), Policy.objects.get(), garbled)
    assert Call.objects.get().credits == Decimal("0.1")
    assert money() == (Decimal("99.9"), 0)


def test_a_call_names_the_key_that_it_is_made_with(submit: Submit) -> None:
    submit()
    credential = Credential.objects.get()
    assert claim_next().call.key_fingerprint == credential.key_fingerprint == credential.fingerprint[:16]


def test_what_is_billed_above_the_hold_is_kept_on_the_call(submit: Submit) -> None:
    submit()
    settlement.answered(claim_next(), answer(25, last=True))
    call = Call.objects.get()
    assert (call.credits, call.overbilled, money()) == (PAGE, Decimal("0.125"), (Decimal("99.5"), Decimal(0)))


def test_a_call_keeps_what_it_may_have_cost_until_its_answer_comes_late(submit: Submit) -> None:
    submit()
    claimed = claim_next()
    Policy.objects.update(on_unknown=Policy.OnUnknown.FAIL)
    settlement.lost(claimed.call, claimed.lookup, Policy.objects.get(), Lost("outcome_unknown", "…"))
    call: Any = Call.objects.get()
    assert (call.credits, call.unknown) == (0, PAGE)
    settlement.answered_late(claimed, answer(25))
    call.refresh_from_db()
    assert (call.credits, call.overbilled, call.unknown) == (PAGE, Decimal("0.125"), 0)
