"""Reads the query of a URL, and refuses unknown and repeated parameters: a misspelt filter must not return every row."""

from __future__ import annotations

import re
from itertools import islice
from typing import Any, cast

from django.http import QueryDict
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from accounts.web.strict_fields import MOST_ERRORS


class Instant(serializers.DateTimeField):
    """A time of RFC 3339 with its offset: without one it means another instant in every office."""

    default_error_messages = {"invalid": "Must be a time such as 2026-11-01T00:00:00Z; a + is sent as %2B."}

    def to_internal_value(self, value: Any) -> Any:
        if not re.fullmatch(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", str(value), re.ASCII):
            self.fail("invalid")
        return super().to_internal_value(str(value).upper())


def refuse_empty_range(values: dict[str, Any], *, of: str) -> None:
    """Raises `ValidationError` if no time is between `created_after` and `created_before`. `of`: what a row of the list is."""
    since, until = values.get("created_after"), values.get("created_before")
    if since and until and since >= until:
        detail = f"Must be later than created_after, or no {of} is left."
        raise ValidationError({"created_before": [ErrorDetail(detail, code="not_later")]})


class WholeNumber(serializers.IntegerField):
    """A number in ASCII digits. Python would also take digits of other scripts, blanks and underscores."""

    def to_internal_value(self, data: Any) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", str(data)):
            self.fail("invalid")
        return super().to_internal_value(data)


class Query(serializers.Serializer[Any]):
    """The parameters that a view takes. This base takes none."""

    @classmethod
    def read(cls, given: QueryDict) -> dict[str, Any]:
        """Returns the checked values. Raises `ValidationError` with every wrong parameter."""
        query = cls(data=given.dict())
        wrong = ((name, query._wrong(name, values)) for name, values in given.lists())
        errors = {name or "query": [error] for name, error in islice((each for each in wrong if each[1]), MOST_ERRORS)}
        if not query.is_valid():
            errors |= cast(dict[str, Any], query.errors)
        if errors:
            raise ValidationError(errors)
        return cast(dict[str, Any], query.validated_data)

    def takes(self, name: str) -> bool:
        return name in self.fields

    def known(self) -> list[str]:
        """Returns the names of the parameters, as an error lists them."""
        return sorted(self.fields)

    def _wrong(self, name: str, values: list[Any]) -> ErrorDetail | None:
        if not self.takes(name):
            known = ", ".join(self.known()) or "none"
            return ErrorDetail(f"Unknown query parameter; known here: {known}.", code="unknown_parameter")
        if len(values) > 1:
            return ErrorDetail("Given more than once; give it once.", code="repeated_parameter")
        return None
