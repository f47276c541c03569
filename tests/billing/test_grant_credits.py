from __future__ import annotations

from datetime import UTC, datetime
from io import StringIO
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from accounts.models import Tenant
from billing import grants
from billing.models import Account, Entry, Grant
from providers import registry

pytestmark = pytest.mark.django_db


def grant(*words: str) -> str:
    said = StringIO()
    call_command("grant_credits", *words, stdout=said)
    return said.getvalue()


def test_credits_are_granted_by_name_or_id(alice: Tenant) -> None:
    assert grant("Alice", "modash", "100") == "Alice has 100 credits available at modash.\n"
    assert (
        grant(str(alice.pk), "modash", "2.5", "--memo", "a bonus") == "Alice has 102.5 credits available at modash.\n"
    )
    assert Account.objects.get().kind == "prepaid"
    assert [entry.memo for entry in Entry.objects.order_by("number")] == ["", "a bonus"]


def test_a_grant_can_expire_and_have_a_priority(alice: Tenant) -> None:
    grant("Alice", "modash", "100", "--expires-at", "2099-01-31T01:00:00+01:00", "--priority", "0")
    kept = Grant.objects.get()
    assert kept.expires_at == datetime(2099, 1, 31, tzinfo=UTC)
    assert kept.priority == 0
    assert Account.objects.get().next_expiry == kept.expires_at


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("Alice", "modash", "1", "--expires-at", "soon"), grants.EXPIRES_AT),
        (("Alice", "modash", "1", "--expires-at", "2099-01-31"), grants.EXPIRES_AT),
        (("Alice", "modash", "1", "--expires-at", "2020-01-31T00:00:00Z"), grants.EXPIRES_AT),
        (("Alice", "modash", "1e999999999"), "amount: must be at most 1,000,000,000 credits"),
        (("Alice", "modash", "1e-999999999"), "amount: must be a number of credits"),
        (("Alice", "modash", "1", "--memo", "\udcff"), "memo: must be text in UTF-8."),
        (("Alice", "modash", "1", "--priority", "101"), grants.PRIORITY),
        (("Alice", "modash", "1", "--priority", "-1"), grants.PRIORITY),
        (("Alice", "modash", "1", "--priority", "high"), grants.PRIORITY),
        (("Alice", "modash", "1", "--priority", ""), grants.PRIORITY),
        (("Nobody", "modash", "1"), "tenant: there is none called 'Nobody'."),
        ((str(uuid4()), "modash", "1"), "tenant: there is none called"),
        (("Alice", "tiktok", "1"), f"provider: must be one of {', '.join(registry.PROVIDERS)}."),
        (("Alice", "modash", "much"), "amount: must be a number of credits"),
        (("Alice", "modash", "٣"), "amount: must be a number of credits in the digits 0 to 9"),
        (("Alice", "modash", "1_000"), "amount: must be a number of credits in the digits 0 to 9"),
        (("Alice", "modash", "1,5"), "amount: must be a number of credits"),
        (("Alice", "modash", ""), "amount: must be a number of credits"),
        (("Alice", "modash", "nan"), "amount: must be a number of credits"),
        (("Alice", "modash", "sNaN"), "amount: must be a number of credits"),
        (("Alice", "modash", "Infinity"), "amount: must be a number of credits"),
        (("Alice", "modash", "0.0000001"), "amount: must be a number of credits with at most 6 decimals"),
        (("Alice", "modash", "1e12"), "amount: must be at most 1,000,000,000 credits"),
        (("Alice", "modash", "1e999999"), "amount: must be at most 1,000,000,000 credits"),
        (("Alice", "modash", "0"), "amount: a grant must be more than 0 credits."),
        (("Alice", "modash", "1", "--memo", "x" * 201), "memo: must have at most 200 characters."),
    ],
)
def test_bad_input_is_named_and_leaves_nothing(alice: Tenant, words: tuple[str, ...], sentence: str) -> None:
    with pytest.raises(CommandError) as caught:
        grant(*words)
    assert str(caught.value).startswith(sentence)
    assert not Account.objects.exists()
    assert not Entry.objects.exists()


def test_a_negative_grant_is_no_grant(alice: Tenant) -> None:
    with pytest.raises(CommandError, match="more than 0"):
        grant("Alice", "modash", "--", "-5")
