"""A source's parameters as JSON Schema (2020-12), from the serializer that checks them, so that neither can drift.

It holds no references: what `/v1/sources` answers can be used as it is, and the OpenAPI document takes it whole. Rules
between fields (min at most max) cannot be said there and stand in the descriptions. A kind of field that is not known
here is an error and not a guess.
"""

from __future__ import annotations

import re
from typing import Any

from django.core.validators import RegexValidator
from rest_framework import serializers

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def of(parameters: type[serializers.Serializer[Any]]) -> Schema:
    """The whole document for a source's parameters."""
    return {"$schema": DIALECT, **_of_field(parameters())}


def _of_field(field: Any) -> Schema:
    schema = _of_kind(field)
    description = field.help_text or (_said_of(field) if isinstance(field, serializers.Serializer) else "")
    return schema | ({"description": str(description)} if description else {})


def _of_kind(field: Any) -> Schema:
    # The narrow kinds before those that they are kinds of.
    match field:
        case serializers.Serializer():
            return _of_object(field)
        case serializers.ListField():
            return _of_list(field)
        case serializers.ChoiceField():
            return {"enum": list(field.choices)}
        case serializers.BooleanField():
            return {"type": "boolean"}
        case serializers.IntegerField():
            return {"type": "integer"} | _bounds(field, minimum="min_value", maximum="max_value")
        case serializers.FloatField():
            return {"type": "number"} | _bounds(field, minimum="min_value", maximum="max_value")
        case serializers.CharField():
            return _of_text(field)
    raise TypeError(f"{type(field).__name__} has no JSON Schema here: add it.")


def _of_object(serializer: serializers.Serializer[Any]) -> Schema:
    fields = serializer.fields
    required = [name for name, field in fields.items() if field.required]
    schema: Schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: _of_field(field) for name, field in fields.items()},
    }
    return schema | ({"required": required} if required else {})


def _of_list(field: Any) -> Schema:
    schema = {"type": "array", "items": _of_field(field.child)}
    least = {} if field.allow_empty else {"minItems": 1}
    return schema | least | _bounds(field, minItems="min_length", maxItems="max_length")


def _of_text(field: Any) -> Schema:
    least = {} if field.allow_blank else {"minLength": 1}
    patterns = [
        {"pattern": re.compile(validator.regex).pattern.replace(r"\A", "^").replace(r"\Z", "$")}
        for validator in field.validators
        if isinstance(validator, RegexValidator)
    ]
    return (
        {"type": "string"}
        | least
        | _bounds(field, minLength="min_length", maxLength="max_length")
        | (patterns or [{}])[0]
    )


def _bounds(field: Any, **names: str) -> Schema:
    return {word: bound for word, name in names.items() if (bound := getattr(field, name, None)) is not None}


def _said_of(serializer: object) -> str:
    """A class' own docstring, not one that it inherits."""
    return (type(serializer).__dict__.get("__doc__") or "").strip()
