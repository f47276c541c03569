"""Usage equals the charges at any moment, and says what they were for."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import date
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

import pytest
from django.db import connection, transaction

from accounts.models import Tenant
from billing import audit, ledger, usage
from billing.caps import Spender
from billing.ledger import Demand
from billing.models import Account, Entry, Usage, UsageByMetadata
from tests.billing.test_ledger import in_one
from tests.racing import at_once

KEY, OTHER_KEY = UUID(int=1), UUID(int=2)
SPRING, AUTUMN = {"campaign": "spring"}, {"campaign": "autumn"}


def spend(
    tenant: Tenant,
    amount: str,
    reference: str,
    *,
    provider: str = "modash",
    source: str = "tiktok-creators",
    api_key_id: UUID | None = KEY,
    metadata: dict[str, str] | None = None,
) -> None:
    """Holds 10 for a lookup, charges an amount, and ends it."""
    demand = Demand(
        reference=reference,
        tenant_id=tenant.pk,
        provider=provider,
        amount=Decimal(10),
        source=source,
        metadata=metadata or {},
    )
    in_one(ledger.hold, [demand], Spender(api_key_id=api_key_id))
    in_one(ledger.close, reference, Decimal(amount), key=reference)


def lines(tenant: Tenant, groups: str, **wanted: Any) -> list[tuple[Any, ...]]:
    report = usage.UsageReport(tenant_id=tenant.pk, groups=groups.split(","), **wanted)
    return [tuple(line.values()) for line in report.page(None, 1000)]


def forget(tenant: Tenant, *references: str, metadata: dict[str, str]) -> None:
    lookups = [(reference, "tiktok-creators", "modash") for reference in references]
    in_one(usage.forget_metadata, tenant.pk, lookups, metadata=json.dumps(metadata))


@pytest.mark.django_db
def test_a_charge_counts_once_and_what_is_released_does_not(alice: Tenant) -> None:
    spend(alice, "2.5", "lookup:1")
    spend(alice, "0", "lookup:2")
    [(provider, source, charged, charges)] = lines(alice, "source")
    assert (provider, source, charged, charges) == ("modash", "tiktok-creators", Decimal("2.5"), 1)


@pytest.mark.django_db
def test_a_charge_counts_for_source_key_and_metadata_of_its_lookup(alice: Tenant) -> None:
    spend(alice, "1", "lookup:1", metadata=SPRING)
    spend(alice, "2", "lookup:2", source="public-videos", metadata=SPRING)
    spend(alice, "4", "lookup:3", api_key_id=OTHER_KEY, metadata=AUTUMN)
    assert lines(alice, "source") == [("modash", "public-videos", 2, 1), ("modash", "tiktok-creators", 5, 2)]
    assert lines(alice, "api_key") == [("modash", str(KEY), 3, 2), ("modash", str(OTHER_KEY), 4, 1)]
    assert lines(alice, "metadata.campaign") == [("modash", "=autumn", 4, 1), ("modash", "=spring", 3, 2)]
    assert lines(alice, "metadata.campaign,source")[1:] == [
        ("modash", "=spring", "public-videos", 2, 1),
        ("modash", "=spring", "tiktok-creators", 1, 1),
    ]


@pytest.mark.django_db
def test_an_empty_text_is_not_none(alice: Tenant) -> None:
    spend(alice, "1", "lookup:1", metadata={"campaign": ""})
    spend(alice, "2", "lookup:2", metadata={"other": "x"})
    assert lines(alice, "metadata.campaign") == [("modash", "", 2, 1), ("modash", "=", 1, 1)]


@pytest.mark.django_db
def test_credits_of_two_providers_are_never_added(alice: Tenant) -> None:
    spend(alice, "1", "lookup:1")
    spend(alice, "2", "lookup:2", provider="memories")
    assert [(provider, charged) for provider, _, charged, _ in lines(alice, "day")] == [("memories", 2), ("modash", 1)]


@pytest.mark.django_db
def test_the_day_is_that_of_the_entry_in_utc(alice: Tenant) -> None:
    spend(alice, "1", "lookup:1")
    [day] = Usage.objects.values_list("day", flat=True)
    assert day == Entry.objects.get(kind="charge").created_at.date()


@pytest.mark.django_db
def test_a_session_in_another_time_zone_counts_on_the_same_day(alice: Tenant) -> None:
    account = ledger.account_of(alice, "modash")
    with connection.cursor() as cursor:
        for zone in ("Pacific/Kiritimati", "Pacific/Pago_Pago"):
            cursor.execute("SELECT set_config('TimeZone', %s, true)", [zone])
            cursor.execute(
                "SELECT billing_count_usage(ARRAY[jsonb_populate_record(NULL::billing_entry, %s::jsonb)])",
                [
                    f'{{"account_id": "{account.pk}", "kind": "charge", "amount": 1, "created_at": "2026-11-30T12:00:00Z"}}'
                ],
            )
    assert lines(alice, "day") == [("modash", "2026-11-30", 2, 2)]


@pytest.mark.django_db
def test_an_unknown_outcome_counts_when_it_is_settled(alice: Tenant) -> None:
    demand = Demand(
        reference="lookup:1", tenant_id=alice.pk, provider="modash", amount=Decimal(4), source="s", metadata=SPRING
    )
    in_one(ledger.hold, [demand])
    in_one(ledger.set_unknown, "lookup:1", Decimal(3))
    in_one(ledger.close, "lookup:1")
    assert lines(alice, "source") == []
    ledger.settle("lookup:1", charged=Decimal(2))
    assert lines(alice, "source,metadata.campaign") == [("modash", "s", "=spring", 2, 1)]


@pytest.mark.django_db
def test_a_second_hold_keeps_what_the_first_is_for(alice: Tenant) -> None:
    in_one(ledger.hold, [Demand(reference="a", tenant_id=alice.pk, provider="modash", amount=Decimal(1), source="s")])
    assert in_one(ledger.hold_more, "a", Decimal(2), key="call")
    in_one(ledger.close, "a", Decimal(3), key="call")
    assert lines(alice, "source") == [("modash", "s", 3, 1)]


@pytest.mark.django_db
def test_a_movement_that_is_not_committed_counts_nowhere(alice: Tenant) -> None:
    with suppress(ZeroDivisionError), transaction.atomic():
        spend(alice, "1", "lookup:1")
        raise ZeroDivisionError
    assert not Usage.objects.exists()
    assert not UsageByMetadata.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_charges_at_once_are_all_counted(alice: Tenant) -> None:
    at_once([partial(spend, alice, "0.5", f"lookup:{number}", metadata=SPRING) for number in range(8)])
    assert lines(alice, "metadata.campaign") == [("modash", "=spring", 4, 8)]
    assert audit.differences() == []


# Erasure


@pytest.mark.django_db
def test_what_is_erased_keeps_its_money_and_loses_its_metadata(alice: Tenant) -> None:
    spend(alice, "1", "lookup:1", metadata=SPRING)
    spend(alice, "2", "lookup:2", metadata=SPRING)
    forget(alice, "lookup:1", metadata=SPRING)
    assert lines(alice, "metadata.campaign") == [("modash", "", 1, 1), ("modash", "=spring", 2, 1)]
    forget(alice, "lookup:2", metadata=SPRING)
    assert lines(alice, "metadata.campaign") == [("modash", "", 3, 2)]
    assert list(UsageByMetadata.objects.values_list("metadata", flat=True)) == [{}]
    assert audit.differences() == []


@pytest.mark.django_db
def test_what_is_charged_after_an_erasure_has_no_metadata(alice: Tenant) -> None:
    demand = Demand(
        reference="a",
        tenant_id=alice.pk,
        provider="modash",
        amount=Decimal(4),
        source="tiktok-creators",
        metadata=SPRING,
    )
    in_one(ledger.hold, [demand], Spender(api_key_id=KEY))
    in_one(ledger.charge, "a", Decimal(1), key="first")
    forget(alice, "a", metadata=SPRING)
    in_one(ledger.close, "a", Decimal(2), key="second")
    assert lines(alice, "metadata.campaign") == [("modash", "", 3, 2)]


# Pages


@pytest.mark.django_db
@pytest.mark.parametrize("groups", ["day", "source,api_key", "metadata.campaign", "api_key,metadata.campaign"])
def test_pages_and_batches_have_every_line_once(alice: Tenant, groups: str) -> None:
    for number, metadata in enumerate(({}, SPRING, AUTUMN, {"campaign": "Ä"}, {"campaign": ""})):
        spend(alice, "1", f"lookup:{number}", metadata=metadata, api_key_id=(None, KEY)[number % 2])
    report = usage.UsageReport(tenant_id=alice.pk, groups=groups.split(","))
    every = report.page(None, 1000)
    found: list[usage.Line] = []
    while page := report.page([found[-1][key] for key in report.keys] if found else None, 2):
        found += page
    assert found == every == [line for batch in report.batches() for line in batch]


@pytest.mark.django_db
def test_a_report_has_bounds_and_filters(alice: Tenant) -> None:
    account = ledger.account_of(alice, "modash")
    for day in (29, 30):
        Usage.objects.create(account=account, day=date(2026, 11, day), source="s", charged=day, charges=1)
    assert lines(alice, "day", since=date(2026, 11, 30)) == [("modash", "2026-11-30", 30, 1)]
    assert lines(alice, "day", until=date(2026, 11, 30)) == [("modash", "2026-11-29", 29, 1)]
    assert lines(alice, "day", provider="memories") == lines(alice, "day", source="t") == []


# Audit


def overwrite(account: Account, model: Any, **values: Any) -> Sequence[str]:
    model.objects.filter(account=account).update(**values)
    return audit.differences()


@pytest.mark.django_db
def test_the_audit_names_the_day_on_which_usage_is_off(alice: Tenant) -> None:
    spend(alice, "1", "lookup:1")
    account, day = Account.objects.get(), Usage.objects.get().day
    assert overwrite(account, Usage, charged=2) == [
        f"{account}: usage on {day} by the API key {KEY} is 2, the entries say 1."
    ]
    assert overwrite(account, Usage, charged=1) == []
    assert overwrite(account, UsageByMetadata, charges=2) == [
        f"{account}: the number in usage by metadata on {day} by the API key {KEY} is 2, the entries say 1."
    ]
