"""Idempotency keys as rows: what is compared, how long a key is kept, and under which seal."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.db import IntegrityError
from django.db.models.functions import Now
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from accounts import batches, idempotency_keys, vault
from accounts.idempotency_keys import Claim, ClaimLost, KeyInUse, KeyReused
from accounts.models import IdempotencyKey, Mode, Tenant
from accounts.web.idempotency import fingerprint_of

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
FINGERPRINT = "f" * 64


def spelt_otherwise(value: Any) -> Any:
    """Returns an equal value with its names in another order, and whole numbers as floats where a float has all their digits."""
    if isinstance(value, dict):
        return {name: spelt_otherwise(inner) for name, inner in reversed(value.items())}
    if isinstance(value, list):
        return [spelt_otherwise(inner) for inner in value]
    is_exact = type(value) is int and abs(value) < 2**53
    return float(value) if is_exact else value


def told_apart(value: Any) -> Any:
    """Returns the value in a form in which true is not 1."""
    if isinstance(value, dict):
        return {name: told_apart(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [told_apart(inner) for inner in value]
    return str(value) if isinstance(value, bool) else [value]


@given(value=VALUES)
def test_the_spelling_of_a_value_does_not_count(value: Any) -> None:
    spelt = json.loads(json.dumps(spelt_otherwise(value), indent=2))
    assert fingerprint_of("a", spelt) == fingerprint_of("a", value)


@given(one=VALUES, other=VALUES)
def test_other_values_have_other_fingerprints(one: Any, other: Any) -> None:
    are_equal = told_apart(one) == told_apart(other)
    assert (fingerprint_of("a", one) == fingerprint_of("a", other)) == are_equal


def test_a_fingerprint_says_nothing_without_the_key() -> None:
    assert fingerprint_of("a", {"secret": "s"}) != fingerprint_of("b", {"secret": "s"})


def claimed(tenant: Tenant, key: str = "a") -> Claim:
    claim = idempotency_keys.claim(tenant, Mode.LIVE, key, FINGERPRINT)
    assert isinstance(claim, Claim)
    return claim


def test_a_claim_is_completed_once_and_then_kept(alice: Tenant) -> None:
    claim = claimed(alice)
    with pytest.raises(KeyInUse):
        claimed(alice)
    idempotency_keys.complete(claim, 201, answer="what was said")
    with pytest.raises(ClaimLost):
        idempotency_keys.complete(claim, 201, answer="something else")
    idempotency_keys.release(claim)
    done = idempotency_keys.claim(alice, Mode.LIVE, "a", FINGERPRINT)
    assert isinstance(done, IdempotencyKey)
    assert idempotency_keys.answer_of(done) == "what was said"
    with pytest.raises(KeyReused):
        idempotency_keys.claim(alice, Mode.LIVE, "a", "e" * 64)


def test_a_released_key_is_free(alice: Tenant) -> None:
    idempotency_keys.release(claimed(alice))
    assert idempotency_keys.claim(alice, Mode.LIVE, "a", "e" * 64)


def test_a_claim_that_was_taken_over_is_lost(alice: Tenant) -> None:
    first = claimed(alice)
    IdempotencyKey.objects.update(leased_until=Now())
    second = claimed(alice)
    idempotency_keys.release(first)
    with pytest.raises(ClaimLost):
        idempotency_keys.complete(first, 200, made=uuid4())
    idempotency_keys.complete(second, 200, made=uuid4())


def test_a_row_is_leased_or_done(alice: Tenant) -> None:
    claimed(alice)
    with pytest.raises(IntegrityError, match="idempotency_keys_are_leased_or_done"):
        IdempotencyKey.objects.update(status=200)


def test_a_sweep_deletes_what_is_over_in_batches(alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "SIZE", 2)
    for number in range(5):
        claimed(alice, str(number))
    IdempotencyKey.objects.update(expires_at=Now())
    claimed(alice, "later")
    idempotency_keys.sweep()
    assert [row.key for row in IdempotencyKey.objects.all()] == [idempotency_keys.digest("later")]


def test_keys_go_with_their_tenant(alice: Tenant) -> None:
    claimed(alice)
    alice.delete()
    assert not IdempotencyKey.objects.exists()


def test_kept_answers_move_to_a_new_sealing_key(
    alice: Tenant, settings: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    idempotency_keys.complete(claimed(alice), 201, answer="a secret")
    idempotency_keys.complete(claimed(alice, "b"), 202, made=uuid4())
    settings.CREDENTIAL_KEYS = f"new:{'A' * 43},{settings.CREDENTIAL_KEYS}"
    call_command("reseal_credentials")
    assert "1 resealed" in capsys.readouterr().out
    row = IdempotencyKey.objects.get(status=201)
    assert vault.is_current(bytes(row.sealed or b""))
    assert idempotency_keys.answer_of(row) == "a secret"


def test_a_key_is_kept_for_a_day_after_its_request(alice: Tenant) -> None:
    claim = claimed(alice)
    IdempotencyKey.objects.update(expires_at=Now())
    idempotency_keys.complete(claim, 202, made=uuid4())
    row = IdempotencyKey.objects.get()
    assert row.expires_at - row.created_at >= timedelta(hours=24)
