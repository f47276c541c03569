"""Formats values for the operators' pages: links between rows, coloured words, times, amounts, and JSON for reading.

A time is relative, and its exact one in UTC is its title. A yes or a no is a word. An amount has its unit.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.utils import display_for_label

# The units of a distance in time, each with the distance from which on it is used, from the longest to the shortest.
UNITS = (
    ("day", timedelta(days=1)),
    ("h", timedelta(hours=1)),
    ("min", timedelta(minutes=1)),
    ("s", timedelta(seconds=1)),
)
# A time that is farther away is its date: nobody counts so many days.
LONGEST_DISTANCE = timedelta(days=31)
NOTHING = "-"
BYTES = (("MB", 1_000_000), ("kB", 1_000), ("bytes", 1))


def page_of(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[quote(row.pk)])


def list_of(model: type[Model], **filters: Any) -> str:
    """Returns the address of a model's list, narrowed by these filters."""
    path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return f"{path}?{urlencode(filters)}"


def link(address: str, text: object) -> SafeString:
    return format_html('<a href="{}" class="text-link">{}</a>', address, text)


def badge(value: str, colours: dict[str, str], text: str = "") -> SafeString:
    """Returns a word in the colour of its value: one of unfold's, such as success or danger; grey without one."""
    shown: SafeString = display_for_label((value, text or value), "-", {value: colours.get(value, "")})
    return shown


def indented(value: object) -> SafeString:
    """Returns a value as JSON for reading."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return format_html('<pre style="white-space: pre-wrap; overflow-wrap: anywhere">{}</pre>', text)


def badge_column(field: str, colours: dict[str, str]) -> Any:
    """Makes a page's column that shows a field as a badge, and sorts by it."""
    return admin.display(description=field, ordering=field)(lambda page, row: badge(getattr(row, field), colours))


def json_column(description: str, field: str) -> Any:
    """Makes a page's column that shows a field as JSON."""
    return admin.display(description=description)(lambda page, row: indented(getattr(row, field)))


def moment(value: datetime | None, otherwise: str = NOTHING) -> SafeString:
    """Returns a time as its distance from now, such as "5 min ago". Its title is the exact time in UTC."""
    if value is None:
        return format_html("{}", otherwise)
    exact = value.astimezone(UTC)
    return format_html(
        '<time datetime="{}" title="{} UTC" class="whitespace-nowrap">{}</time>',
        f"{exact:%Y-%m-%dT%H:%M:%SZ}",
        f"{exact:%Y-%m-%d %H:%M:%S}",
        distance(exact, timezone.now()),
    )


def distance(exact: datetime, now: datetime) -> str:
    """Returns how far a time is from now, in words: "12 s ago", "in 3 h", or its date where that is more than a month."""
    far = abs(now - exact)
    if far < timedelta(seconds=1):
        return "now"
    if far > LONGEST_DISTANCE:
        return f"{exact:%Y-%m-%d}"
    return f"{span(far)} ago" if exact < now else f"in {span(far)}"


def span(length: timedelta) -> str:
    """Returns a length of time in its largest whole unit: 90 seconds are "1 min"."""
    name, unit = next((each for each in UNITS if length >= each[1]), UNITS[-1])
    count = length // unit
    return f"{count} {name}{'s' if name == 'day' and count != 1 else ''}"


def yes_or_no(value: bool | None) -> str:
    """Returns a word without a colour: a no is seldom a fault. A column whose no is one has a badge of its own."""
    return NOTHING if value is None else "yes" if value else "no"


def with_unit(value: Any, unit: str) -> str:
    """Returns an amount with its unit. A text stays as it is; a number gets commas."""
    if value is None:
        return NOTHING
    return f"{value} {unit}" if isinstance(value, str) else f"{value:,} {unit}"


def size_of_file(count: int | None) -> str:
    """Returns a number of bytes in the largest unit of which it has one."""
    if count is None:
        return NOTHING
    unit, size = next(((unit, size) for unit, size in BYTES if count >= size), BYTES[-1])
    return f"{count / size:.1f} {unit}" if size > 1 and count < 10 * size else f"{count // size:,} {unit}"


def reason(code: str, sentence: object = "") -> SafeString:
    """Returns why a row is as it is: a word, and under it a sentence."""
    if not code and not sentence:
        return SafeString(NOTHING)
    return format_html(
        '<span class="block font-semibold">{}</span><span class="block max-w-md text-subtle text-xs whitespace-normal">'
        "{}</span>",
        code or sentence,
        sentence if code else "",
    )


def moment_column(field: str, description: str = "") -> Any:
    """Makes a list's column that shows a time of the row, and sorts by it."""

    @admin.display(description=description or field.replace("_", " "), ordering=field)
    def column(row: Model) -> SafeString:
        return moment(getattr(row, field))

    column.__name__ = field
    return column


def flag_column(field: str, description: str = "") -> Any:
    """Makes a list's column that shows a yes or a no of the row as a word, and sorts by it."""

    @admin.display(description=description or field.replace("_", " "), ordering=field)
    def column(row: Model) -> str:
        return yes_or_no(getattr(row, field))

    column.__name__ = field
    return column
