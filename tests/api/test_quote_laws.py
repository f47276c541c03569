"""A law: a search is accepted if its quote allows it, and then holds what was quoted, whatever limits and repeats there are."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

from accounts import clock
from accounts.models import ApiKey, Tenant
from billing import audit, ledger
from billing.models import KeyCap, TenantCap
from providers import policies, registry
from providers.keyring import credentials
from searches.calls import outcomes
from searches.lanes import directory, queue
from searches.models import Lane, Lookup, QueueState
from tests.api.examples import create, lookup, made
from tests.api.quoting import everything, quoted
from tests.searches import samples
from tests.searches.conftest import LEASE
from tests.searches.repeating import answer

PROVIDERS = ("keyapi", "memories", "modash")
CREDITS = st.decimals(0, 6, places=2) | st.sampled_from([Decimal("0.5"), Decimal(1), Decimal("1.5")])
NONE_OR_CREDITS = st.none() | CREDITS
LOOKUPS = st.one_of(
    st.builds(
        lambda limit, pages: lookup(limit=limit, offset=pages * limit),
        st.sampled_from([1, 20, 30, 40]),
        st.integers(0, 2),
    ),
    st.builds(lambda limit: lookup(limit=limit), st.sampled_from([100, 120, 1500])),
    st.builds(lambda limit: lookup(source="tiktok-products", limit=limit), st.integers(29, 30)),
    st.sampled_from([lookup(source="public-videos"), lookup(source="private-videos")]),
)
ORDERS = st.fixed_dictionaries(
    {
        "lookups": st.lists(LOOKUPS, min_size=1, max_size=4),
        "max_credits": st.dictionaries(st.sampled_from(PROVIDERS), CREDITS.map(str), max_size=2),
        "max_age": st.sampled_from([0, 3600]),
    }
)
LIMITS = st.fixed_dictionaries({provider: st.tuples(*[NONE_OR_CREDITS] * 3) for provider in PROVIDERS})


def limit(alice: Tenant, provider: str, balance: Decimal | None, tenants: Decimal | None, keys: Decimal | None) -> None:
    if balance:
        ledger.grant(ledger.account_of(alice, provider), balance)
    if tenants is not None:
        TenantCap.objects.create(tenant=alice, provider=provider, amount=tenants)
    if keys is not None:
        KeyCap.objects.create(api_key=ApiKey.objects.get(), provider=provider, amount=keys)


def prepare(alice: Tenant) -> None:
    """Stores a key for each provider, and fixes the next slot of each lane, however long a request takes."""
    for provider in PROVIDERS:
        if not alice.credentials.filter(provider=provider).exists():
            credentials.store(alice, provider, f"a-{provider}-key")
        directory.lane_of(policies.of(provider), mode="live", tenant_id=alice.pk)
    Lane.objects.update(claimed_at=clock.now() + 100 * LEASE)


def answer_one() -> None:
    """Answers one waiting lookup whole, so that later ones may be hits."""
    waiting = Lookup.objects.filter(queue_state=QueueState.READY).order_by("pk").first()
    if waiting is not None and (claimed := queue.claim(waiting.lane_id, waiting.lane.policy, lease=LEASE)):
        outcomes.answered(claimed, answer(1))
        Lane.objects.update(claimed_at=F("claimed_at") + 100 * LEASE)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limits=LIMITS, orders=st.lists(st.tuples(ORDERS, st.booleans()), min_size=1, max_size=4))
def test_a_quote_and_its_submit_agree(
    api: APIClient, alice: Tenant, limits: dict[str, Any], orders: list[tuple[dict[str, Any], bool]]
) -> None:
    picture = {"id": str(samples.image_of(made(api)).pk)}
    point = transaction.savepoint()
    prepare(alice)
    for provider, amounts in limits.items():
        limit(alice, provider, *amounts)
    for order, answered in orders:
        agree(api, {"image": picture, **order})
        if answered:
            answer_one()
    assert audit.differences() == []
    transaction.savepoint_rollback(point)


def agree(api: APIClient, order: dict[str, Any]) -> None:
    before = everything()
    quote = quoted(api, **order)
    assert everything() == before
    response = create(api, **order)
    assert quote["allowed"] == (response.status_code == 202)
    body = response.json()
    if not quote["allowed"]:
        assert response.status_code == 402
        assert quote["error"] == {name: body[name] for name in ("code", "detail", "limit")}
        return
    for foretold, told in zip(quote["lookups"], body["lookups"], strict=True):
        assert foretold["most_credits"] == told["credits"]["held"]
        own = {other["id"] for other in body["lookups"]}
        assert foretold["repeat_of"] == (None if told["repeat_of"] in own else told["repeat_of"])
        for name in ("source", "provider", "repeat", "estimated_start_at", "waiting_on"):
            assert foretold[name] == told[name], name
    asked = {each["provider"]: Decimal(each["asked"]) for each in quote["providers"]}
    held = {provider: Decimal(0) for provider in asked}
    for told in body["lookups"]:
        held[told["provider"]] += Decimal(told["credits"]["held"])
    assert asked == held


def test_the_law_asks_every_source() -> None:
    asked = {"tiktok-creators", "tiktok-products", "public-videos", "private-videos"}
    assert asked == set(registry.ADAPTERS)
