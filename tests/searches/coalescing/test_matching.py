"""Tests which lookups are equal, and that one takes an earlier answer or follows a leader in progress."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from accounts import clock
from accounts.models import Mode, Tenant
from providers.keyring import credentials, states
from providers.models import Credential
from searches.lanes import estimates
from searches.lifecycle import cancellation
from searches.models import Call, Lookup, Search, Status
from tests.bench.picture import jpeg
from tests.searches import samples
from tests.searches.repeating import (
    PAGE,
    Asker,
    answered,
    asker,
    claim_next,
    failed,
    in_line,
    money,
    only,
    resolved,
    statuses,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def alice_asks(alice: Tenant) -> Asker:
    return asker(alice)


def results_of(search: Search) -> list[dict[str, Any]]:
    """Returns the results without ids and other columns that differ in each row."""
    own = {"id", "search_id", "lookup_id"}
    return [{k: v for k, v in row.items() if k not in own} for row in search.results.order_by("sequence").values()]


# An earlier answer


def test_an_equal_lookup_takes_the_answer_at_once_at_no_cost(alice_asks: Asker) -> None:
    first = alice_asks.ask()
    answered(7)
    before = money()
    second = alice_asks.ask()
    assert statuses(first, second) == ["succeeded/miss", "succeeded/hit"]
    assert only(second).repeat_of == only(first)
    assert results_of(second) == results_of(first)
    assert (only(second).result_count, only(second).total, Call.objects.count()) == (7, 7, 1)
    assert money() == before
    assert in_line() == 0
    second.refresh_from_db()
    assert (second.status, second.results_count) == ("succeeded", 7)
    assert second.finished_at is not None


def test_a_search_with_a_hit_asks_for_the_rest(alice_asks: Asker) -> None:
    alice_asks.ask()
    answered(3)
    mixed = alice_asks.ask(also={"limit": 10})
    assert statuses(mixed) == ["succeeded/hit queued/miss"]
    mixed.refresh_from_db()
    assert (mixed.status, mixed.finished_at, in_line()) == ("running", None, 1)
    answered(2)
    assert sorted(mixed.results.values_list("sequence", flat=True)) == [1, 2, 3, 4, 5]
    assert money() == (100 - 5 * Decimal("0.025"), 0)


def test_an_answer_that_is_too_old_is_asked_for_again(alice_asks: Asker) -> None:
    first = alice_asks.ask()
    answered()
    Lookup.objects.update(finished_at=clock.now() - timedelta(seconds=100))
    assert statuses(alice_asks.ask(max_age=101), alice_asks.ask(max_age=99)) == ["succeeded/hit", "queued/miss"]
    assert only(first).repeat == "miss"


def test_a_copied_answer_serves_no_later_lookup_so_that_no_answer_is_older_than_it_says(alice_asks: Asker) -> None:
    alice_asks.ask()
    answered()
    alice_asks.ask()
    Lookup.objects.filter(repeat="miss").update(finished_at=clock.now() - timedelta(seconds=3601))
    assert statuses(alice_asks.ask()) == ["queued/miss"]


def test_the_youngest_of_several_answers_is_taken(alice_asks: Asker) -> None:
    alice_asks.ask()
    answered(1)
    younger = alice_asks.ask(max_age=0)
    answered(2)
    assert only(alice_asks.ask()).repeat_of == only(younger)


def test_a_failure_serves_no_later_lookup(alice_asks: Asker) -> None:
    alice_asks.ask()
    failed()
    assert statuses(alice_asks.ask()) == ["queued/miss"]


# One in progress


def test_an_equal_lookup_follows_the_one_in_progress(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(), alice_asks.ask()
    assert statuses(first, second) == ["queued/miss", "queued/coalesced"]
    assert (in_line(), money()) == (1, (100 - PAGE, PAGE))
    answered(5)
    assert statuses(second) == ["queued/coalesced"]
    resolved()
    assert statuses(first, second) == ["succeeded/miss", "succeeded/coalesced"]
    assert results_of(second) == results_of(first)
    assert Call.objects.count() == 1
    assert money()[1] == 0


def test_an_equal_lookup_that_is_running_is_followed_too(alice_asks: Asker) -> None:
    first = alice_asks.ask()
    claim_next()
    second = alice_asks.ask()
    assert only(second).repeat_of == only(first)
    assert second.status == Status.QUEUED


def test_equal_lookups_of_one_search_are_one_call(alice_asks: Asker) -> None:
    search = alice_asks.ask(count=3)
    assert statuses(search) == ["queued/miss queued/coalesced queued/coalesced"]
    answered(4)
    resolved()
    search.refresh_from_db()
    assert (search.status, search.results_count) == ("succeeded", 12)
    assert [lookup.result_count for lookup in search.lookups.all()] == [4, 4, 4]


def test_an_equal_lookup_that_is_to_be_canceled_is_not_followed(alice_asks: Asker) -> None:
    first = alice_asks.ask()
    claim_next()
    cancellation.cancel(first)
    assert statuses(first, alice_asks.ask()) == ["running/miss", "queued/miss"]


def test_a_follower_has_the_forecast_of_its_leader(alice_asks: Asker) -> None:
    alice_asks.ask(jpeg(1), priority=1)
    first, second = alice_asks.ask(), alice_asks.ask()
    forecasts = estimates.forecast([only(first), only(second)])
    assert forecasts[only(second).pk] == forecasts[only(first).pk]
    assert forecasts[only(second).pk].position == 2
    assert estimates.forecast([only(second)])[only(second).pk].position == 2
    claim_next()
    claim_next()
    forecast = estimates.forecast([only(second)])[only(second).pk]
    assert (forecast.position, forecast.waiting_on) == (None, "turn")
    assert forecast.estimated_start_at is not None
    assert forecast.estimated_start_at <= clock.now()


def test_a_leader_inherits_the_priority_of_an_urgent_follower(alice_asks: Asker) -> None:
    alice_asks.ask(jpeg(1))
    first = alice_asks.ask(priority=-5)
    alice_asks.ask(priority=5)
    assert claim_next().lookup == only(first)


def test_a_leader_keeps_its_priority_over_an_unhurried_follower(alice_asks: Asker) -> None:
    first = alice_asks.ask(priority=5)
    alice_asks.ask(jpeg(1))
    alice_asks.ask(priority=-5)
    assert claim_next().lookup == only(first)


# Neither


def test_with_a_max_age_of_0_it_asks_and_may_answer_later_ones(alice_asks: Asker) -> None:
    first, second = alice_asks.ask(max_age=0), alice_asks.ask(max_age=0, count=2)
    assert statuses(first, second) == ["queued/miss", "queued/miss queued/miss"]
    answered()
    third = alice_asks.ask()
    assert statuses(third) == ["succeeded/hit"]
    assert only(third).repeat_of == only(first)


def test_the_tenants_own_setting_holds_where_the_order_says_nothing(alice_asks: Asker, alice: Tenant) -> None:
    alice.max_age = 0
    alice.save()
    assert statuses(alice_asks.ask(), alice_asks.ask()) == ["queued/miss", "queued/miss"]
    assert statuses(alice_asks.ask(max_age=60)) == ["queued/coalesced"]


# What counts as equal

CHANGES: list[tuple[dict[str, Any], bool]] = [
    ({}, True),
    ({"picture": jpeg(1)}, False),
    ({"crop": "0,0,500000,500000"}, False),
    ({"limit": 19}, False),
    ({"offset": 20}, False),
    ({"parameters": {"language": "en"}}, False),
    # Modash rounds it to no bound at all.
    ({"parameters": {"followers_count": {"min": 999}}}, True),
    ({"priority": 3}, True),
    ({"expires_in": 60}, True),
    ({"credential": "default"}, True),
]


@pytest.mark.parametrize(("change", "equal"), CHANGES, ids=[str(n) for n in range(len(CHANGES))])
def test_lookups_are_equal_if_they_ask_for_the_same_of_the_same_pixels(
    alice_asks: Asker, change: dict[str, Any], equal: bool
) -> None:
    keys = [only(alice_asks.ask(max_age=0, **changes)).repeat_key for changes in ({}, change)]
    assert (keys[0] == keys[1]) is equal


def test_other_files_of_the_same_pixels_are_equal(alice_asks: Asker) -> None:
    first = alice_asks.ask(samples.png())
    second = alice_asks.ask(samples.png(compress_level=1))
    assert first.image != second.image
    assert statuses(second) == ["queued/coalesced"]


def test_crops_are_equal_by_their_pixels(alice_asks: Asker) -> None:
    first, second = (alice_asks.ask(crop=f"0,0,{width},500000") for width in (500_000, 500_001))
    assert only(first).repeat_key == only(second).repeat_key


def test_the_order_in_which_filters_are_given_does_not_matter(alice_asks: Asker) -> None:
    filters = {"language": "en", "has_email": True}
    first = alice_asks.ask(parameters=filters)
    second = alice_asks.ask(parameters=dict(reversed(filters.items())))
    assert only(second).repeat_of == only(first)


def test_an_answer_never_serves_another_tenant(alice_asks: Asker, bob: Tenant) -> None:
    alice_asks.ask()
    bobs = asker(bob)
    assert statuses(bobs.ask()) == ["queued/miss"]
    answered()
    answered()
    Lookup.objects.filter(tenant=bob).delete()
    assert statuses(bobs.ask()) == ["queued/miss"]


def test_a_test_key_is_never_answered_by_a_live_search_nor_the_other_way_round(alice: Tenant) -> None:
    live, test = asker(alice), asker(alice, Mode.TEST)
    assert statuses(live.ask(), test.ask(), live.ask(), test.ask()) == [
        *("queued/miss", "queued/miss"),
        *("queued/coalesced", "queued/coalesced"),
    ]


def test_in_the_sandbox_the_credential_is_part_of_the_question(alice: Tenant) -> None:
    test = asker(alice, Mode.TEST)
    for label, secret in (("down", "sandbox_down"), ("again", "sandbox_down"), ("empty", "sandbox_empty")):
        credentials.store(alice, "modash", secret, label=label)
    named = [only(test.ask(credential=label)) for label in ("down", "again", "empty")]
    assert named[0].repeat_key == named[1].repeat_key != named[2].repeat_key
    assert only(test.ask()).repeat_key not in {lookup.repeat_key for lookup in named}


def test_another_key_means_another_private_library(alice: Tenant) -> None:
    live = asker(alice)
    for label in ("shop", "archive"):
        credentials.store(alice, "memories", f"secret-of-{label}", label=label)

    def equal(source: str) -> bool:
        wanted: dict[str, Any] = {"source": source, "limit": None, "max_age": 0}
        keys = {only(live.ask(**wanted, credential=label)).repeat_key for label in ("shop", "archive")}
        return len(keys) == 1

    assert (equal("private-videos"), equal("public-videos")) == (False, True)


@pytest.mark.parametrize(("source", "are_equal"), [("private-videos", False), ("public-videos", True)])
def test_the_folder_is_part_of_the_question_only_in_a_private_library(
    alice: Tenant, source: str, are_equal: bool
) -> None:
    live = asker(alice)
    credentials.store(alice, "memories", "sk-mavi-1")
    wanted: dict[str, Any] = {"source": source, "limit": None}
    searches = [live.ask(**wanted, parameters=given) for given in ({}, {"unique_id": "a"}, {"unique_id": "b"})]
    assert len({only(search).repeat_key for search in searches}) == (1 if are_equal else 3)
    assert statuses(searches[2]) == ["queued/coalesced" if are_equal else "queued/miss"]


def test_a_lookup_on_another_key_takes_an_answer_but_does_not_follow(alice_asks: Asker, alice: Tenant) -> None:
    """A follower might have to replace its leader, in the leader's lane and with its key."""
    credentials.store(alice, "modash", "a-second-key", label="second")
    alice_asks.ask()
    assert statuses(alice_asks.ask(credential="second")) == ["queued/miss"]
    answered()
    assert statuses(alice_asks.ask(credential="second")) == ["succeeded/hit"]


def test_a_follower_waits_for_the_dead_key_of_its_leader(alice_asks: Asker) -> None:
    states.mark(Credential.objects.get(), Credential.State.INVALID)
    first, second = alice_asks.ask(), alice_asks.ask()
    assert statuses(first, second) == ["queued/miss", "queued/coalesced"]
    assert estimates.forecast([only(second)])[only(second).pk].waiting_on == "credential"
