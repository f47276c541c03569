"""Operators edit a provider's rules; what they enter is in force at once, or refused in a sentence."""

from __future__ import annotations

from typing import Any

import pytest
from django.forms import model_to_dict
from django.test import Client

from providers import policies
from providers.models import Policy
from tests.admin.test_pages import page_of


@pytest.fixture
def policy(db: None) -> Policy:
    return policies.of("modash")


def edit(desk: Client, policy: Policy, **changes: Any) -> Any:
    form = {name: value for name, value in (model_to_dict(policy) | changes).items() if value is not False}
    return desk.post(page_of(policy), form)


CHANGES: dict[str, Any] = {
    "calls": 20,
    "window_ms": 2000,
    "guard_ms": "1.5",
    "scope": "account",
    "max_in_flight": 3,
    "page_size": 10,
    "attempts": 2,
    "throttled_seconds": 60,
    "connect_timeout_ms": 2500,
    "write_timeout_ms": 5_000,
    "read_timeout_ms": 20_000,
    "total_timeout_ms": 45_000,
    "on_unknown": "fail",
    "paused": True,
}


def test_all_of_it_can_be_edited_and_is_in_force_at_once(desk: Client, policy: Policy) -> None:
    assert set(CHANGES) == set(model_to_dict(policy)) - {"provider"}
    assert edit(desk, policy, **CHANGES).status_code == 302
    now = policies.of("modash")
    assert {name: str(getattr(now, name)) for name in CHANGES} == {
        name: "1.500" if name == "guard_ms" else str(value) for name, value in CHANGES.items()
    }
    assert (policies.rate(now).calls, policies.rate(now).full_window_us) == (20, 2_001_500)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("calls", 0),
        ("calls", 10_001),
        ("window_ms", 9),
        ("window_ms", 3_600_001),
        ("guard_ms", -1),
        ("guard_ms", "0.0001"),
        ("scope", "nobody"),
        ("max_in_flight", 0),
        ("page_size", 0),
        ("page_size", 1501),
        ("attempts", 21),
        ("connect_timeout_ms", 99),
        ("connect_timeout_ms", 60_001),
        ("write_timeout_ms", 99),
        ("write_timeout_ms", 300_001),
        ("read_timeout_ms", 99),
        ("read_timeout_ms", 300_001),
        ("total_timeout_ms", 99),
        ("total_timeout_ms", 300_001),
        ("total_timeout_ms", ""),
        ("on_unknown", "hope"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(desk: Client, policy: Policy, field: str, value: Any) -> None:
    response = edit(desk, policy, **{field: value})
    (error,) = response.context["adminform"].form.errors[field]
    assert error.endswith(".")
    assert getattr(policies.of("modash"), field) == getattr(policy, field)


def test_a_page_is_no_larger_than_what_the_provider_gives(desk: Client, db: None) -> None:
    response = edit(desk, policies.of("keyapi"), page_size=31)
    assert response.context["adminform"].form.errors == {
        "page_size": ["keyapi gives at most 30 results; ask for no more."]
    }
