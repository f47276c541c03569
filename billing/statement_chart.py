"""Draws a statement as bars: what was posted when the month began, each kind that moved it, and what was posted at its end.

The bars are numbers for an inline SVG, in its own units, so that the page needs no script and prints as it is shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from billing.models import Statement
from billing.serializers import credits_text

WIDTH, HEIGHT = 680, 260
# Room above and below the bars, for the amounts and the labels.
TOP, BOTTOM = 24, 36
GAP = 16


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One bar. `way` is balance, up or down."""

    label: str
    amount: str
    way: str
    x: int
    y: int
    width: int
    height: int

    @property
    def middle(self) -> int:
        return self.x + self.width // 2

    @property
    def above(self) -> int:
        return self.y - 6


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A chart and its size. `zero` is the height of the line of 0 credits."""

    bars: list[Bar]
    zero: int
    width: int = WIDTH
    height: int = HEIGHT
    labels: int = HEIGHT - 12


def of(statement: Statement) -> Chart:
    """Returns the chart of what the statement has posted."""
    steps = _steps(statement)
    ends = [end for _, start, stop, _ in steps for end in (start, stop)]
    most, least = max(*ends, Decimal(0)), min(*ends, Decimal(0))
    span = most - least or Decimal(1)

    def height(credits: Decimal) -> int:
        return TOP + round((most - credits) / span * (HEIGHT - TOP - BOTTOM))

    width = WIDTH // len(steps)
    bars = [
        Bar(
            label=label,
            amount=credits_text(stop - start),
            way=way,
            x=nth * width + GAP // 2,
            y=height(max(start, stop)),
            width=width - GAP,
            height=max(1, height(min(start, stop)) - height(max(start, stop))),
        )
        for nth, (label, start, stop, way) in enumerate(steps)
    ]
    return Chart(bars=bars, zero=height(Decimal(0)))


def _steps(statement: Statement) -> list[tuple[str, Decimal, Decimal, str]]:
    """Returns the label of each bar, where it starts and stops, and its way."""
    zero = Decimal(0)
    steps = [("opening", zero, statement.opening_posted, "balance")]
    present = statement.opening_posted
    moves = (
        *(("grants", statement.grants), ("expiries", -statement.expiries)),
        *(("adjustments", statement.adjustments), ("charges", -statement.charges)),
    )
    for label, amount in moves:
        steps.append((label, present, present + amount, "down" if amount < 0 else "up"))
        present += amount
    return [*steps, ("closing", zero, statement.closing_posted, "balance")]
