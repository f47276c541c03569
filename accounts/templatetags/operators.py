"""Template filters of the operators' pages."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import template

from accounts.web.admin_columns import moment, yes_or_no

register = template.Library()


@register.filter
def read_only(field: Any) -> Any:
    """Returns what a page shows of a field that cannot be changed: a time as its distance from now, all else as unfold does."""
    if not field:
        return ""
    value = field.resolved_field[2] if field.resolved_field else None
    return moment(value) if isinstance(value, datetime) else field.contents()


@register.filter
def as_word(value: bool | str | None) -> str:
    """Returns a yes or a no as a word. Unfold gives an empty text where neither is known."""
    return yes_or_no(None if value in ("", None) else bool(value))
