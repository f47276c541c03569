"""The query parameters of the lists of searches, pictures and results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from accounts.web.pagination import PageQuery
from accounts.web.query_params import Instant
from accounts.web.strict_fields import StrictChoice, Wrong, merged
from providers import registry
from searches.api.exceptions import field_error
from searches.api.request_serializers import MOST_METADATA, SOURCES
from searches.models import Status


class SearchQuery(PageQuery):
    status = StrictChoice(Status.values, required=False)
    source: Any = StrictChoice(SOURCES, required=False, help_text="Searches that have a lookup of this source.")
    created_after = Instant(required=False)
    created_before = Instant(required=False)

    def takes(self, name: str) -> bool:
        return super().takes(name) or name.startswith("metadata.")

    def to_internal_value(self, data: Any) -> Any:
        wanted = {name: text for name, text in data.items() if name.startswith("metadata.")}
        errors = {
            name: field_error("Holds a null character; leave it out.", "null_character")
            for name, text in wanted.items()
            if "\0" in name + text
        }
        if len(wanted) > MOST_METADATA:
            errors = {"metadata": field_error(f"At most {MOST_METADATA} of them are looked for at once.", "too_many")}
        values = sound_values(super().to_internal_value, data, errors)
        metadata = {name.removeprefix("metadata."): text for name, text in wanted.items()}
        return values | {"metadata": metadata}


def sound_values(read: Callable[[Any], Any], data: Any, errors: Wrong) -> dict[str, Any]:
    """Returns what `read` makes of the data. Raises `ValidationError` with its errors and these."""
    try:
        values = cast(dict[str, Any], read(data))
    except ValidationError as error:
        raise ValidationError(merged(errors, error.detail)) from None
    if errors:
        raise ValidationError(errors)
    return values


class ImageQuery(PageQuery):
    unused = StrictChoice(
        ("true", "false"),
        required=False,
        help_text="`true`: only those that no search names; `false`: only the others.",
    )
    created_after = Instant(required=False)
    created_before = Instant(required=False)


class ResultQuery(PageQuery):
    lookup = serializers.UUIDField(required=False, help_text="Only this lookup's.")
    source: Any = StrictChoice(SOURCES, required=False)
    type = StrictChoice(sorted({adapter.result_type for adapter in registry.ADAPTERS.values()}), required=False)
    order = StrictChoice(
        ("rank", "arrival"),
        default="rank",
        help_text="`rank`: by lookup and rank. `arrival`: as they came; nothing is skipped while more arrive, and "
        "`next_cursor` of the last page goes on with what comes later.",
    )
    include = StrictChoice(("raw",), required=False, help_text="`raw`: the provider's own object, untouched.")
