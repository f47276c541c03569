"""Formats values for the operators' pages: links between rows, coloured words, and JSON for reading."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.utils import display_for_label


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
