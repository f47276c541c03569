"""Puts numbers into words: each has its unit, and says one thing as one."""

from __future__ import annotations

# A count stops here, so that it costs little however much there is.
MOST_COUNTED = 1000


def counted(number: int, one: str, many: str = "") -> str:
    """Returns a number with its noun: "1 call", "2,000 calls"."""
    return f"{number:,} {one if number == 1 else many or f'{one}s'}"


def at_most_counted(number: int) -> str:
    return f"{number:,}" if number <= MOST_COUNTED else f"more than {MOST_COUNTED:,}"


def duration(seconds: float) -> str:
    """Returns a length of time in its two largest units."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{counted(whole // 86_400, 'day')} {whole % 86_400 // 3600} h"


def milliseconds(number: int) -> str:
    return f"{number:,} ms" if number < 10_000 else f"{number / 1000:,.0f} s"


def share(part: float, whole: float) -> str:
    """Returns a part in percent. More than nothing is never "0 %", nor less than all "100 %"."""
    if not whole:
        return "0 %"
    percent = 100 * part / whole
    if 0 < percent < 1:
        return "less than 1 %"
    return "more than 99 %" if 99 < percent < 100 else f"{percent:.0f} %"
