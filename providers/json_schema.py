"""Describes a source's parameters as JSON Schema (2020-12), made from the serializer that checks them, so that the two agree.

The schema has no references: a client can use what `/v1/sources` answers as it is, and the OpenAPI document includes it
whole. JSON Schema cannot express rules between fields (min at most max), so the descriptions state them. A type of field that
is not known here is an error.
"""

from __future__ import annotations

import re
from typing import Any

from django.core.validators import RegexValidator
from rest_framework import serializers

DIALECT = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, Any]


def of(parameters: type[serializers.Serializer[Any]]) -> Schema:
    """Returns the whole document for a source's parameters."""
    return {"$schema": DIALECT, **_of_field(parameters())}


def _of_field(field: Any) -> Schema:
    schema = _of_type(field)
    description = field.help_text or (_own_docstring(field) if isinstance(field, serializers.Serializer) else "")
    return schema | ({"description": str(description)} if description else {})


def _of_type(field: Any) -> Schema:
    # A subclass must come before its base class.
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


def _own_docstring(serializer: object) -> str:
    """Returns the docstring of the object's class, and no inherited one."""
    return (type(serializer).__dict__.get("__doc__") or "").strip()
