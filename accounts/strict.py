"""Serializers for what callers send: no field is taken that is not known, and no value of a wrong JSON type (DRF alone would
read "yes" as true and "12" as a number).
"""

from __future__ import annotations

import json
import math
from typing import Any, cast

from rest_framework import serializers
from rest_framework.settings import api_settings


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses unknown fields, each by its name, together with what is wrong in the known ones."""

    default_error_messages = {"invalid": "Must be an object with named fields."}

    def to_internal_value(self, data: Any) -> Any:
        unknown = self._unknown(data) if isinstance(data, dict) else {}
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as error:
            raise serializers.ValidationError({**unknown, **cast(dict[str, Any], error.detail)}) from None
        if unknown:
            raise serializers.ValidationError(unknown)
        return values

    def read(self, data: Any) -> Any:
        """The checked values, for one instance that serves every request: to build its fields takes longer than to use them, and
        what `is_valid` finds is kept in it. Raises `ValidationError`.
        """
        if data is None:
            detail = serializers.ErrorDetail("No data provided", code="null")
            raise serializers.ValidationError({api_settings.NON_FIELD_ERRORS_KEY: [detail]})
        return self.run_validation(data)

    def _unknown(self, data: dict[Any, Any]) -> dict[str, Any]:
        known = ", ".join(sorted(self.fields))
        there_are = f"known here: {known}" if known else "leave it out, for none is taken here"
        error = serializers.ErrorDetail(f"Unknown field; {there_are}.", code="unknown_field")
        return {str(name): [error] for name in data if name not in self.fields}


class Nothing(StrictSerializer):
    """The body of an action that needs none."""


class StrictInteger(serializers.IntegerField):
    default_error_messages = {"invalid": "Must be a whole number, without quotes."}

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, bool) or not isinstance(data, int):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictNumber(serializers.FloatField):
    default_error_messages = {"invalid": "Must be a number, without quotes."}

    def to_internal_value(self, data: Any) -> float:
        if isinstance(data, bool) or not isinstance(data, int | float):
            self.fail("invalid")
        try:
            number = float(data)
        except OverflowError:
            self.fail("invalid")
        return number if math.isfinite(number) else self.fail("invalid")


class StrictBoolean(serializers.BooleanField):
    default_error_messages = {"invalid": "Must be true or false, without quotes."}

    def to_internal_value(self, data: Any) -> bool:
        if not isinstance(data, bool):
            self.fail("invalid", input=data)
        return data


class StrictText(serializers.CharField):
    default_error_messages = {"invalid": "Must be a text in quotes."}

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictChoice(serializers.ChoiceField):
    """One of a few values, of the same JSON type: DRF alone would read "18" as 18."""

    default_error_messages = {"invalid_choice": "Must be one of {known}."}

    def to_internal_value(self, data: Any) -> Any:
        for choice in self.choices:
            if type(choice) is type(data) and choice == data:
                return choice
        return self.fail("invalid_choice", known=", ".join(json.dumps(choice) for choice in self.choices))
