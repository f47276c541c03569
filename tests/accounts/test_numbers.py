"""Every number has one form."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from accounts.numbers import decimal_text, one_form
from billing.serializers import credits_text

CREDITS = st.decimals(allow_nan=False, allow_infinity=False, places=6, min_value=-(10**12), max_value=10**12)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.one_of(FINITE, st.integers()))
def test_a_number_keeps_its_value_and_a_whole_one_has_neither_point_nor_exponent(number: float) -> None:
    printed = json.dumps(one_form(number))
    assert json.loads(printed) == number
    assert printed != "-0"
    if isinstance(number, int) or number.is_integer():
        assert re.fullmatch(r"-?[0-9]+", printed)


@given(FINITE)
def test_the_form_of_the_form_is_the_form(number: float) -> None:
    assert repr(one_form(one_form(number))) == repr(one_form(number))


def test_zero_is_zero() -> None:
    assert [json.dumps(one_form(zero)) for zero in (0, 0.0, -0.0)] == ["0"] * 3
    assert [math.copysign(1, one_form(zero)) for zero in (0, 0.0, -0.0)] == [1] * 3


@given(CREDITS, st.integers(-6, 12))
def test_equal_decimals_have_one_text(amount: Decimal, exponent: int) -> None:
    text = decimal_text(amount)
    assert Decimal(text) == amount
    assert re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?", text)
    assert text != "-0"
    assert decimal_text(amount.normalize()) == text
    assert decimal_text(Decimal(1).scaleb(exponent)) == f"{Decimal(10) ** exponent:f}"


def test_credits_have_no_printer_of_their_own() -> None:
    assert credits_text is decimal_text
