"""Writes moments and spans for reading: a relative time, with the exact one beside it where a pointer rests."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.utils.html import format_html
from django.utils.safestring import SafeString

MINUTE, HOUR, DAY = 60, 3600, 86_400


def span(seconds: float) -> str:
    """Returns a length of time in the largest unit that says enough."""
    if seconds < 10:
        return f"{max(seconds, 0):.1f} s"
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * HOUR:
        return f"{seconds / MINUTE:.0f} min"
    if seconds < 2 * DAY:
        return f"{seconds / HOUR:.1f} h"
    return f"{seconds / DAY:.1f} days"


def ahead(moment: datetime, now: datetime) -> SafeString:
    """Returns how far ahead a moment is; its exact time shows on hover."""
    seconds = (moment - now) / timedelta(seconds=1)
    words = "now" if seconds < 0.5 else f"in {span(seconds)}"
    return format_html(
        '<time datetime="{}" title="{} UTC">{}</time>', moment.isoformat(), f"{moment:%Y-%m-%d %H:%M:%S}", words
    )
