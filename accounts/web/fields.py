"""Fields of answers that several apps share."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers

from accounts.numbers import one_form


class Number(serializers.FloatField):
    """A number of an answer, printed in one form."""

    def to_representation(self, value: float) -> Any:
        return one_form(float(value))
