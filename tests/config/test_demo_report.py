"""Tests the demo's lines for lanes and results."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.demo.report import Pace
from providers.sandbox.meter import Meter


@given(
    gaps=st.lists(st.floats(min_value=0, max_value=3), min_size=1, max_size=40),
    most=st.integers(min_value=1, max_value=5),
    window=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_a_kept_limit_is_never_used_by_more_than_100_percent(gaps: list[float], most: int, window: float) -> None:
    meter = Meter(calls=most, window=window)
    arrived = 0.0
    for gap in gaps:
        arrived += gap
        meter.admit("key", arrived)
    pace = Pace.of(meter.tally("key").shown(), {"calls": most, "window_ms": window * 1000})
    assert pace.use is None or 0 < pace.use <= 1.00001


@pytest.mark.parametrize(("calls", "seconds", "use"), [(7, 6.0, 1.0), (7, 6.12, 0.9804), (2, 2.0, 0.5), (1, 0.0, None)])
def test_the_use_of_a_limit_is_what_the_limit_alone_takes_of_the_time(
    calls: int, seconds: float, use: float | None
) -> None:
    pace = Pace(calls=calls, seconds=seconds, most=1, window_seconds=1.0)
    assert pace.use == (None if use is None else pytest.approx(use, abs=0.0001))
