"""Gives every number one form, however it was written: in answers, in webhooks, in CSV and to operators.

A number of JSON is written as RFC 8785 has it: a whole one without a point and an exponent, and no negative zero. PostgreSQL's
`jsonb` keeps this form. Python's `-0.0` and `1e+16` would come back from it as `0.0` and `10000000000000000`.
"""

from __future__ import annotations

from decimal import Decimal


def one_form(number: float) -> float:
    """Returns a finite number as an int where it is whole, and else as it is."""
    return int(number) if isinstance(number, float) and number.is_integer() else number


def decimal_text(amount: Decimal) -> str:
    """Returns a decimal as text, without trailing zeros, exponent and negative zero."""
    text = f"{amount:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text
