"""Draws columns as numbers for an inline SVG, so that a chart needs no script and no inline style, and can be read out.

A stretch that was not counted is a gap with words of its own, and not a column of height 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 600, 80
# The smallest height of a part, so that one refusal among a thousand answers is seen.
LEAST = 2.0


@dataclass(frozen=True, kw_only=True)
class Column:
    """One stretch of time: the amount of each kind, from the bottom up; None where it is unknown. `words` are shown on hover."""

    words: str
    parts: dict[str, float] | None


@dataclass(frozen=True, kw_only=True)
class TimeBar:
    """A rectangle of the chart. `kind` decides its colour."""

    kind: str
    words: str
    x: float
    y: float
    width: float
    height: float


@dataclass(frozen=True, kw_only=True)
class TimeChart:
    """A chart with what it says in words. `limit` is the height of a line across it, if it has one."""

    bars: list[TimeBar]
    words: str
    limit: float | None
    width: int = WIDTH
    height: int = HEIGHT


def draw(columns: Sequence[Column], *, words: str, limit: float | None = None) -> TimeChart:
    """Returns the chart of the columns. `limit`: an amount that a line marks."""
    sums = [sum(column.parts.values()) for column in columns if column.parts is not None]
    most = max([*sums, limit or 0]) or 1
    width = WIDTH / max(len(columns), 1)
    bars = [bar for nth, column in enumerate(columns) for bar in _bars(column, nth * width, width, most)]
    return TimeChart(bars=bars, words=words, limit=None if limit is None else round(HEIGHT * (1 - limit / most), 1))


def _bars(column: Column, x: float, width: float, most: float) -> list[TimeBar]:
    left, inner = round(x + width * 0.1, 1), round(width * 0.8, 1)
    if column.parts is None:
        return [TimeBar(kind="gap", words=column.words, x=left, y=0, width=inner, height=HEIGHT)]
    bars, top = [], float(HEIGHT)
    for kind, amount in column.parts.items():
        if amount:
            height = round(max(LEAST, HEIGHT * amount / most), 1)
            top = round(max(0.0, top - height), 1)
            bars.append(TimeBar(kind=kind, words=column.words, x=left, y=top, width=inner, height=height))
    return bars
