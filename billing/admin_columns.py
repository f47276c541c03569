"""Formats amounts for the operators' pages."""

from __future__ import annotations

from decimal import Decimal

from accounts.web.admin_columns import with_unit
from billing.serializers import credits_text


def amount(value: Decimal) -> str:
    """Returns an amount of a provider's credits with its unit."""
    return with_unit(credits_text(value), "credit" if abs(value) == 1 else "credits")
