"""A law: a search is accepted if its quote allows it, and then holds what was quoted.

That is so whatever limits and repeats there are, and whatever grants have ended.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.db import transaction
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
from searches.models import Lane
from tests.api.examples import create, lookup, made
from tests.api.quoting import quoted
from tests.billing.passing import days_pass, expires_in
from tests.searches import samples
from tests.searches.conftest import LEASE
from tests.searches.repeating import answer

PROVIDERS = ("keyapi", "memories", "modash")
CREDITS = st.decimals(0, 12, places=2) | st.sampled_from([Decimal("0.5"), Decimal(1), Decimal("1.5"), Decimal(3)])
# Few, so that many are repeats.
ASKED = [
    *(lookup(limit=limit) for limit in (1, 40, 120)),
    *(lookup(limit=40, offset=offset) for offset in (40, 80)),
    *(lookup(source="tiktok-products", limit=limit) for limit in (29, 30)),
    lookup(source="public-videos"),
    lookup(source="private-videos"),
]
LOOKUPS = st.sampled_from(ASKED)
ORDERS = st.fixed_dictionaries(
    {"lookups": st.lists(LOOKUPS, min_size=1, max_size=4), "max_age": st.sampled_from([0, 3600, 3600])},
    optional={"max_credits": st.dictionaries(st.sampled_from(PROVIDERS), CREDITS.map(str), max_size=1)},
)
LIMITS = st.dictionaries(
    st.tuples(st.sampled_from(PROVIDERS), st.sampled_from(["balance", "expiring", "tenant", "key"])),
    CREDITS,
    max_size=3,
)
# An order, whether its calls are answered then, and whether a day passes then, in which grants end.
STEPS = st.tuples(ORDERS, st.booleans(), st.booleans())


def limit(alice: Tenant, provider: str, kind: str, amount: Decimal) -> None:
    if kind == "balance" and amount:
        ledger.grant(ledger.account_of(alice, provider), amount)
    if kind == "expiring" and amount:
        ledger.grant(ledger.account_of(alice, provider), amount, expires_at=expires_in(days=1))
    if kind == "tenant":
        TenantCap.objects.create(tenant=alice, provider=provider, amount=amount)
    if kind == "key":
        KeyCap.objects.create(api_key=ApiKey.objects.get(), provider=provider, amount=amount)


def prepare(alice: Tenant) -> None:
    """Stores a key for each provider, and fixes the next slot of each lane, however long a request takes."""
    for provider in PROVIDERS:
        if not alice.credentials.filter(provider=provider).exists():
            credentials.store(alice, provider, f"a-{provider}-key")
        directory.lane_of(policies.of(provider), mode="live", tenant_id=alice.pk)
    Lane.objects.update(claimed_at=clock.now() + 100 * LEASE)


def answer_all() -> None:
    """Answers every call that waits, so that later lookups may be hits."""
    for lane in Lane.objects.select_related("policy"):
        while claimed := queue.claim(lane.name, lane.policy, lease=LEASE):
            outcomes.answered(claimed, answer(1))
    Lane.objects.update(claimed_at=clock.now() + 100 * LEASE)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limits=LIMITS, steps=st.lists(STEPS, min_size=2, max_size=5))
def test_a_quote_and_its_submit_agree(
    api: APIClient,
    alice: Tenant,
    limits: dict[tuple[str, str], Decimal],
    steps: list[tuple[dict[str, Any], bool, bool]],
) -> None:
    picture = {"id": str(samples.image_of(made(api)).pk)}
    point = transaction.savepoint()
    prepare(alice)
    for (provider, kind), amount in limits.items():
        limit(alice, provider, kind, amount)
    for order, answered, day_passes in steps:
        agree(api, {"image": picture, **order})
        if answered:
            answer_all()
        if day_passes:
            days_pass(1)
    assert audit.differences() == []
    transaction.savepoint_rollback(point)


def agree(api: APIClient, order: dict[str, Any]) -> None:
    quote = quoted(api, **order)
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


def test_the_law_asks_every_source_and_limits_every_provider() -> None:
    assert {each["source"] for each in ASKED} == set(registry.ADAPTERS)
    assert set(PROVIDERS) == set(registry.PROVIDERS)
