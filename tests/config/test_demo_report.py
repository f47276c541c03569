"""Tests the demo's lines for lanes and results."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.demo.report import Pace, side_by_side
from providers.sandbox.meter import Meter


@given(
    gaps=st.lists(st.floats(min_value=0, max_value=3), min_size=1, max_size=40),
    most=st.integers(min_value=1, max_value=5),
    window=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_a_limit_that_was_kept_is_never_used_by_more_than_all_of_it(
    gaps: list[float], most: int, window: float
) -> None:
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


COLUMNS = [["a" * 40, ""], ["b" * 30, "x"], ["c" * 30, "x"], ["d" * 100, ""]]


@pytest.mark.parametrize(
    ("width", "rows"), [(80, ["ab", "c", "d"]), (60, ["a", "b", "c", "d"]), (104, ["abc", "d"]), (300, ["abcd"])]
)
def test_as_many_columns_stand_beside_each_other_as_the_terminal_is_wide(width: int, rows: list[str]) -> None:
    assert ["".join(column[0][0] for column in row) for row in side_by_side(COLUMNS, width=width)] == rows
