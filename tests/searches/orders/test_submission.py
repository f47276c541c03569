from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db.models import F
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from accounts import keys
from accounts.models import ApiKey, Mode, Tenant
from billing import audit, ledger
from billing.caps import LimitReached
from billing.models import Account, Entry, Hold, Price
from billing.price_defaults import PriceMissing
from providers import policies, registry
from providers.keyring import credentials, states
from providers.models import Credential, Policy
from searches import pictures
from searches.lifecycle import deadlines
from searches.models import Image, Lookup, Search, TenantQueue
from searches.orders import planning, submission
from searches.orders.order import CredentialMissing, LookupOrder, Order, WrongOrder
from tests.bench.picture import jpeg

Submit = Callable[..., Search]
FIT = {"modash": registry.adapter("tiktok-creators").picture_limits}
pytestmark = pytest.mark.django_db


@pytest.fixture
def live_key(alice: Tenant) -> ApiKey:
    credentials.store(alice, "modash", "a-modash-key")
    return keys.issue(alice, Mode.LIVE)[0]


@pytest.fixture
def submit(live_key: ApiKey) -> Submit:
    """Returns `submit`: `submit(limit=40, …)` submits a search with one lookup."""

    def submit(api_key: ApiKey = live_key, **lookup: Any) -> Search:
        wanted = replace(LookupOrder(source="tiktok-creators", parameters={}, limit=20), **lookup)
        with pictures.received(api_key.tenant, jpeg(), fit=FIT) as picture:
            return submission.submit(api_key, Order(lookups=[wanted]), picture).search

    return submit


def nothing_is_left() -> bool:
    return not (Search.objects.exists() or Image.objects.exists() or Hold.objects.exists() or Entry.objects.exists())


def test_a_submitted_search_is_queued_with_its_worst_case_held(submit: Submit, alice: Tenant) -> None:
    search = submit(limit=40)
    lookup = Lookup.objects.get()
    assert (lookup.status, lookup.queue_state, lookup.pages, lookup.page_size) == ("queued", "ready", 1, 40)
    assert TenantQueue.objects.get(tenant=alice, lane="modash").ready == 1
    assert ledger.tallies([lookup.reference])[lookup.reference].held == Decimal("1")
    assert search.status == "queued"


@pytest.mark.parametrize("seconds", [1, 3600, 604_800])
def test_a_search_waits_until_its_deadline_and_no_longer(live_key: ApiKey, seconds: int) -> None:
    """Deadlines hold for the search and each of its lookups, hits and followers too."""
    wanted = LookupOrder(source="tiktok-creators", parameters={}, limit=20)
    for _ in range(2):
        with pictures.received(live_key.tenant, jpeg(), fit=FIT) as picture:
            submission.submit(live_key, Order(lookups=[wanted, wanted], expires_in=seconds), picture)
    due = timedelta(seconds=seconds)
    assert [search.expires_at - search.created_at for search in Search.objects.all()] == [due] * 2
    assert [lookup.expires_at - lookup.created_at for lookup in Lookup.objects.all()] == [due] * 4


def test_a_search_expires_after_exactly_an_hour(live_key: ApiKey) -> None:
    wanted = LookupOrder(source="tiktok-creators", parameters={}, limit=20)
    with pictures.received(live_key.tenant, jpeg(), fit=FIT) as picture:
        submission.submit(live_key, Order(lookups=[wanted], expires_in=3600), picture)
    for passed, status in ((timedelta(minutes=59), "queued"), (timedelta(minutes=2), "expired")):
        Lookup.objects.update(expires_at=F("expires_at") - passed)
        deadlines.expire()
        assert Lookup.objects.get().status == status


def test_pages_are_equal_and_their_size_is_frozen(submit: Submit) -> None:
    submit(limit=120)
    lookup = Lookup.objects.get()
    assert (lookup.pages, lookup.page_size) == (3, 40)


@given(limit=st.integers(1, 1500), largest=st.integers(1, 100))
def test_pages_reach_the_limit_with_the_fewest_calls(limit: int, largest: int) -> None:
    pages = planning.cut(limit=limit, offset=0, largest=largest)
    assert pages.size <= largest
    assert pages.count * pages.size >= limit > (pages.count - 1) * pages.size
    assert pages.count == -(-limit // largest)


def test_an_offset_continues_where_an_earlier_lookup_stopped(submit: Submit) -> None:
    submit(limit=40, offset=80)
    assert Lookup.objects.get().first_page == 2


def test_an_offset_between_two_pages_names_the_nearest_ones(submit: Submit) -> None:
    with pytest.raises(WrongOrder, match="30 or 60"):
        submit(limit=30, offset=40)
    assert nothing_is_left()


def test_an_offset_beyond_the_sources_end_is_refused(submit: Submit) -> None:
    with pytest.raises(WrongOrder, match="1500"):
        submit(limit=50, offset=1500)


def test_a_prepaid_account_without_room_refuses_and_keeps_nothing(submit: Submit, alice: Tenant) -> None:
    ledger.grant(ledger.account_of(alice, "modash"), Decimal("0.4"), key="first")
    with pytest.raises(LimitReached) as refusal:
        submit(limit=20)
    assert (refusal.value.code, refusal.value.limit.asked, refusal.value.limit.left) == (
        "insufficient_credits",
        Decimal("0.5"),
        Decimal("0.4"),
    )
    assert not Search.objects.exists()
    assert not Image.objects.exists()
    assert Account.objects.get().held == 0


def test_a_source_without_a_price_is_refused(submit: Submit) -> None:
    Price.objects.all().delete()
    with pytest.raises(PriceMissing):
        submit()
    assert nothing_is_left()


def test_a_provider_without_a_credential_is_refused(alice: Tenant, submit: Submit, live_key: ApiKey) -> None:
    alice.credentials.all().delete()
    with pytest.raises(CredentialMissing, match="modash"):
        submit()
    assert nothing_is_left()


def test_a_credential_is_named_by_label_or_id_and_must_be_the_tenants_own(
    submit: Submit, alice: Tenant, bob: Tenant
) -> None:
    second = credentials.store(alice, "modash", "her-second-key", label="second")
    foreign = credentials.store(bob, "modash", "a-key-of-bob")
    submit(credential="second")
    submit(credential=str(second.pk))
    assert set(Lookup.objects.values_list("credential", flat=True)) == {second.pk}
    for unknown in ("third", str(foreign.pk)):
        with pytest.raises(WrongOrder, match="of this id or label"):
            submit(credential=unknown)


def test_a_test_key_needs_no_credential_and_holds_nothing(submit: Submit, bob: Tenant) -> None:
    test_key = keys.issue(bob, Mode.TEST)[0]
    submit(test_key)
    assert Lookup.objects.get().lane_id == f"test:modash:{bob.pk}"
    assert not Hold.objects.exists()


def test_prices_are_frozen_at_submit(submit: Submit) -> None:
    submit()
    Price.objects.create(source="tiktok-creators", per_result=Decimal(9))
    assert Lookup.objects.get().price_per_result == Decimal("0.025")


def test_the_price_is_the_one_in_force_and_not_a_future_one(submit: Submit) -> None:
    for cents, days in ((3, -2), (4, -1), (5, 1)):
        valid_from = timezone.now() + timedelta(days=days)
        Price.objects.create(source="tiktok-creators", per_result=Decimal(cents) / 100, valid_from=valid_from)
    Price.objects.exclude(per_result__in=[Decimal("0.03"), Decimal("0.04"), Decimal("0.05")]).delete()
    submit(limit=20)
    only = Lookup.objects.get()
    assert only.price_per_result == Decimal("0.04")
    assert Hold.objects.get().open == Decimal("0.8")


def test_each_lookup_of_an_order_has_its_own_quote(live_key: ApiKey, alice: Tenant) -> None:
    default = credentials.store(alice, "keyapi", "a-keyapi-key")
    second = credentials.store(alice, "modash", "her-second-key", label="second")
    alices_own = credentials.default_of(alice.pk, "modash")
    wanted = [
        LookupOrder(source="tiktok-creators", parameters={}, limit=20, credential="second"),
        LookupOrder(source="tiktok-products", parameters={}, limit=30, credential=str(default.pk)),
        LookupOrder(source="tiktok-creators", parameters={}, limit=40),
    ]
    adapters = [registry.adapter(lookup.source) for lookup in wanted]
    fit = {adapter.provider: adapter.picture_limits for adapter in adapters}
    with pictures.received(alice, jpeg(), fit=fit) as picture:
        search = submission.submit(live_key, Order(lookups=wanted), picture).search
    first, products, last = search.lookups.order_by("ordinal")
    assert [lookup.credential for lookup in (first, products, last)] == [second, default, alices_own]
    assert [first.lane_id, products.lane_id, last.lane_id] == ["modash", "keyapi", "modash"]
    assert dict(TenantQueue.objects.values_list("lane", "ready")) == {"modash": 2, "keyapi": 1}
    assert dict(Account.objects.values_list("provider", "held")) == {"modash": Decimal("1.5"), "keyapi": Decimal(1)}
    assert audit.differences() == []


def test_effective_parameters_are_as_the_provider_rounds_them(submit: Submit) -> None:
    submit(parameters={"followers_count": {"min": 13000}})
    assert Lookup.objects.get().effective_parameters == {"followers_count": {"min": 10000}}


def test_a_lookup_on_a_dead_credential_starts_as_blocked(submit: Submit, alice: Tenant) -> None:
    states.mark(alice.credentials.get(), Credential.State.INVALID)
    submit()
    assert Lookup.objects.get().queue_state == "blocked"
    assert not TenantQueue.objects.filter(ready__gt=0).exists()


def test_under_a_limit_of_each_account_equal_keys_share_a_lane(submit: Submit, bob: Tenant, charlie: Tenant) -> None:
    policies.of("modash")
    Policy.objects.update(scope=Policy.Scope.ACCOUNT)
    submit()
    for tenant, secret in ((bob, "a-modash-key"), (charlie, "a-key-of-his-own")):
        credentials.store(tenant, "modash", secret)
        submit(keys.issue(tenant, Mode.LIVE)[0])
    alices, bobs, charlies = Lookup.objects.order_by("id").values_list("lane", flat=True)
    assert alices == bobs != charlies


def test_test_keys_have_lanes_that_no_live_key_and_no_other_tenant_shares(
    submit: Submit, alice: Tenant, bob: Tenant
) -> None:
    submit()
    for tenant in (alice, bob):
        submit(keys.issue(tenant, Mode.TEST)[0])
    lanes = Lookup.objects.values_list("lane", "lane__mode")
    assert sorted(mode for _, mode in lanes) == ["live", "test", "test"]
    assert len({lane for lane, _ in lanes}) == 3
