"""The comparison of a provider's count with the cost of calls: what is drift, and what is not."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from billing.models import Reconciliation
from billing.reconciliation import ROUNDING, CostOfCalls, compare

MATCHES, UNKNOWN, SHARED, TOPPED_UP, COUNTED_LESS, UNEXPLAINED = Reconciliation.State
AMOUNTS = st.decimals(0, 1000, places=3)


def cost(
    billed: str, *, overlapping: str = "0", unknown: str = "0", calls: int = 0, open_calls: int = 0
) -> CostOfCalls:
    return CostOfCalls(
        billed=Decimal(billed),
        overlapping=Decimal(overlapping),
        unknown=Decimal(unknown),
        calls=calls,
        open_calls=open_calls,
    )


@pytest.mark.parametrize(
    ("counted", "calls", "state", "drift"),
    [
        ("10", cost("10"), MATCHES, "0"),
        ("0", cost("0"), MATCHES, "0"),
        # A provider may round what it shows.
        ("10.01", cost("10"), MATCHES, "0"),
        ("9.99", cost("10"), MATCHES, "0"),
        ("-0.01", cost("0"), MATCHES, "0"),
        ("10.025", cost("10"), SHARED, "0.025"),
        ("9.975", cost("10"), COUNTED_LESS, "-0.025"),
        # Calls under way at a reading were counted or not.
        ("10", cost("10", overlapping="3"), MATCHES, "0"),
        ("13", cost("10", overlapping="3"), MATCHES, "0"),
        ("14", cost("10", overlapping="3"), SHARED, "1"),
        ("9", cost("10", overlapping="3"), COUNTED_LESS, "-1"),
        # Less was added than was used.
        ("5", cost("10", calls=10), COUNTED_LESS, "-5"),
        # Unknown calls were billed or not.
        ("10", cost("10", unknown="2"), MATCHES, "0"),
        ("11", cost("10", unknown="2"), UNKNOWN, "0"),
        ("12", cost("10", unknown="2"), UNKNOWN, "0"),
        ("15", cost("10", overlapping="3", unknown="2"), UNKNOWN, "0"),
        ("16", cost("10", overlapping="3", unknown="2"), SHARED, "1"),
        # The account rose: nothing is proven, whatever the calls cost.
        ("-5", cost("0"), TOPPED_UP, "0"),
        ("-5", cost("10", unknown="2"), TOPPED_UP, "0"),
    ],
)
def test_drift_is_what_is_outside_of_the_range(counted: str, calls: CostOfCalls, state: str, drift: str) -> None:
    found = compare(Decimal(counted), calls)
    assert (found.state, found.drift) == (state, Decimal(drift))


def test_a_top_up_is_at_least_the_rise_and_what_the_calls_cost() -> None:
    assert compare(Decimal(-5), cost("10", unknown="2")).topped_up == 15


@pytest.mark.parametrize(
    ("requests", "state"),
    [
        # The provider counted our calls and no others, so it billed more for them.
        (3, UNEXPLAINED),
        (4, UNEXPLAINED),
        # Others called.
        (5, SHARED),
        # The count is of something else.
        (2, SHARED),
        (0, SHARED),
        (-3, SHARED),
        (None, SHARED),
    ],
)
def test_the_count_of_requests_says_whether_others_called(requests: int | None, state: str) -> None:
    assert compare(Decimal(12), cost("10", calls=3, open_calls=1), requests=requests).state == state


@given(AMOUNTS, AMOUNTS, AMOUNTS, AMOUNTS, st.floats(0, 1), st.floats(0, 1))
def test_a_provider_that_bills_rightly_is_never_accused(
    billed: Decimal, overlapping: Decimal, unknown: Decimal, added: Decimal, part: float, other_part: float
) -> None:
    counted = billed + overlapping * Decimal(part) + unknown * Decimal(other_part)
    calls = CostOfCalls(billed=billed, overlapping=overlapping, unknown=unknown, calls=10)
    assert compare(counted, calls).state in (MATCHES, UNKNOWN)
    assert compare(counted + ROUNDING / 2, calls).state in (MATCHES, UNKNOWN)
    assert compare(counted - added, calls, requests=10).state != UNEXPLAINED
