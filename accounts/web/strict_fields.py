"""Serializers of request bodies: they refuse unknown fields, and values of a wrong JSON type (DRF reads "yes" as true and "12" as
a number).

Lists and objects are counted before their items are checked, and checking ends at the most errors that an answer shows. All
fields of an object are checked, and then the right ones against each other, so that one error hides no other.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any, ClassVar

from django.core.exceptions import ValidationError as DjangoValidationError
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.fields import SkipField, get_error_detail
from rest_framework.settings import api_settings

from accounts.numbers import one_form

# Errors by the names of fields or the numbers of items, at any depth.
Wrong = dict[Any, Any]

# The most errors that an answer shows: a body can be wrong in thousands of places.
MOST_ERRORS = 100


def merged(one: Any, other: Any) -> Any:
    """Merges two trees of errors. If both have an error of the same field itself, the first one is kept."""
    if not (isinstance(one, Mapping) and isinstance(other, Mapping)):
        return one
    return {**other, **{name: merged(wrong, other.get(name)) for name, wrong in one.items()}}


class StrictSerializer(serializers.Serializer[Any]):
    """Refuses unknown fields, each by its name, together with the errors of the known ones.

    `number_of_fields`: what the document says about it, in the words of JSON Schema. `validate` checks it.
    """

    number_of_fields: ClassVar[Mapping[str, int]] = {}

    default_error_messages = {"invalid": "Must be an object with named fields."}

    def to_internal_value(self, data: Any) -> Any:
        if not isinstance(data, dict):
            raise ValidationError({api_settings.NON_FIELD_ERRORS_KEY: [self.error_messages["invalid"]]}, code="invalid")
        values, wrong = self.sound(data)
        if wrong:
            raise ValidationError(wrong)
        return values

    def sound(self, data: dict[str, Any]) -> tuple[dict[str, Any], Wrong]:
        """Returns the valid values, and the errors of the others."""
        values: dict[str, Any] = {}
        wrong = self._unknown(data)
        for field in self._writable_fields:
            name = str(field.field_name)
            try:
                values[name] = self._value(field, data)
            except SkipField:
                pass
            except (ValidationError, DjangoValidationError) as error:
                wrong[name] = detail_of(error)
        return values, merged(wrong, self.disagreements(values))

    def disagreements(self, values: dict[str, Any]) -> Wrong:
        """Returns errors between fields that are valid by themselves. May add to `values`."""
        return {}

    def read(self, data: Any) -> Any:
        """Returns the checked values. Raises `ValidationError`.

        One instance serves every request, because building its fields takes longer than using them. `is_valid` would keep its
        result in the instance.
        """
        if data is None:
            raise ValidationError(
                {api_settings.NON_FIELD_ERRORS_KEY: ["Must be an object with named fields, and not null."]}, code="null"
            )
        return self.run_validation(data)

    def _value(self, field: Any, data: dict[str, Any]) -> Any:
        value = field.run_validation(field.get_value(data))
        check = getattr(self, f"validate_{field.field_name}", None)
        return value if check is None else check(value)

    def _unknown(self, data: dict[Any, Any]) -> Wrong:
        known = ", ".join(sorted(self.fields))
        there_are = f"known here: {known}" if known else "leave it out, for none is taken here"
        error = ErrorDetail(f"Unknown field; {there_are}.", code="unknown_field")
        names = (name for name in data if name not in self.fields)
        return {str(name): [error] for name in islice(names, MOST_ERRORS)}


def detail_of(error: ValidationError | DjangoValidationError) -> Any:
    return error.detail if isinstance(error, ValidationError) else get_error_detail(error)


class Nothing(StrictSerializer):
    """The empty body of an action."""


class OfOneType(serializers.Field[Any, Any, Any, Any]):
    """A field whose values are of one JSON type. DRF's fields convert the others."""

    types: ClassVar[tuple[type, ...]]

    def to_internal_value(self, data: Any) -> Any:
        # Python's bool is an int.
        if type(data) not in self.types:
            self.fail("invalid")
        return super().to_internal_value(data)


class StrictInteger(OfOneType, serializers.IntegerField):
    """A whole number. 2.0 is one too, as in JSON Schema: some languages write it so."""

    types = (int, float)
    default_error_messages = {"invalid": "Must be a whole number, without quotes."}

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, float) and not data.is_integer():
            self.fail("invalid")
        number: int = super().to_internal_value(int(data) if isinstance(data, float) else data)
        return number


class StrictNumber(OfOneType, serializers.FloatField):
    """A number, kept in one form: 0, 0.0 and -0.0 are one value."""

    types = (int, float)
    default_error_messages = {"invalid": "Must be a number, without quotes."}

    def to_internal_value(self, data: Any) -> float:
        try:
            number = one_form(super().to_internal_value(data))
        except serializers.ValidationError:
            # DRF has a code of its own for an integer that is too large.
            self.fail("invalid")
        return number if math.isfinite(number) else self.fail("invalid")


class StrictBoolean(OfOneType, serializers.BooleanField):
    types = (bool,)
    default_error_messages = {"invalid": "Must be true or false, without quotes."}


class StrictText(OfOneType, serializers.CharField):
    types = (str,)
    default_error_messages = {"invalid": "Must be a text in quotes."}


class StrictChoice(serializers.ChoiceField):
    """A choice of a few values, of the same JSON type: DRF reads "18" as 18."""

    default_error_messages = {"invalid_choice": "Must be one of {known}."}

    def to_internal_value(self, data: Any) -> Any:
        for choice in self.choices:
            if type(choice) is type(data) and choice == data:
                return choice
        return self.fail("invalid_choice", known=", ".join(json.dumps(choice) for choice in self.choices))


class StrictUUID(OfOneType, serializers.UUIDField):
    types = (str,)
    default_error_messages = {"invalid": "Must be a UUID in quotes."}


class StrictList(serializers.ListField):
    """A list of items of one kind, which are counted before they are checked.

    `unique_items`: that no item stands there twice, for the document. Subclasses check it.
    """

    unique_items: ClassVar[bool] = False
    max_length: int
    min_length: int | None

    def __init__(self, *, max_length: int, **options: Any) -> None:
        super().__init__(max_length=max_length, **options)

    def run_child_validation(self, data: list[Any]) -> list[Any]:
        if len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        if self.min_length is not None and len(data) < self.min_length:
            self.fail("min_length", min_length=self.min_length)
        return [value for _, value in checked(self.child, enumerate(data))]


class StrictDict(serializers.DictField):
    """An object whose names the caller chooses, and whose members are counted before they are checked."""

    default_error_messages = {
        "not_a_dict": "Must be an object with named fields.",
        "max_length": "Holds at most {max_length} fields.",
    }

    def __init__(self, *, max_length: int, **options: Any) -> None:
        super().__init__(**options)
        self.max_length = max_length

    def run_child_validation(self, data: Mapping[str, Any]) -> dict[str, Any]:
        if len(data) > self.max_length:
            self.fail("max_length", max_length=self.max_length)
        return dict(checked(self.child, data.items(), self.check_name))

    def check_name(self, name: Any) -> None:
        """Raises `ValidationError`."""


def checked(child: Any, items: Iterable[tuple[Any, Any]], check_name: Any = None) -> Iterator[tuple[Any, Any]]:
    """Returns the items with their values checked. Raises `ValidationError` with at most `MOST_ERRORS` errors."""
    values, wrong = [], {}
    for name, item in items:
        try:
            if check_name is not None:
                check_name(name)
            values.append((name, child.run_validation(item)))
        except (ValidationError, DjangoValidationError) as error:
            wrong[name] = detail_of(error)
            if len(wrong) == MOST_ERRORS:
                break
    if wrong:
        raise ValidationError(wrong)
    return iter(values)
