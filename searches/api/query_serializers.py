"""The query parameters of the lists of searches, pictures and results."""

from __future__ import annotations

from typing import Any

from rest_framework import serializers
from rest_framework.exceptions import ValidationError

from accounts.web.pagination import PageQuery
from accounts.web.query_params import Instant
from accounts.web.strict_fields import StrictChoice, merged
from providers import registry
from searches.api.exceptions import field_error
from searches.api.request_serializers import METADATA_KEY, METADATA_KEY_FORM, MOST_METADATA, SOURCES
from searches.models import Status


class SearchQuery(PageQuery):
    status = StrictChoice(Status.values, required=False, help_text="Only searches with this status.")
    source: Any = StrictChoice(SOURCES, required=False, help_text="Only searches with a lookup of this source.")
    created_after = Instant(required=False)
    created_before = Instant(required=False)

    def takes(self, name: str) -> bool:
        return super().takes(name) or name.startswith("metadata.")

    def known(self) -> list[str]:
        return sorted([*super().known(), "metadata.<key>"])

    def to_internal_value(self, data: Any) -> Any:
        wanted = {name: text for name, text in data.items() if name.startswith("metadata.")}
        wrong: Any = {
            name: field_error("Holds a null character; leave it out.", "null_character")
            for name, text in wanted.items()
            if "\0" in text
        }
        wrong |= {
            name: field_error(f"The name after `metadata.` must be {METADATA_KEY_FORM}.", "invalid_name")
            for name in wanted
            if not METADATA_KEY.fullmatch(name.removeprefix("metadata."))
        }
        if len(wanted) > MOST_METADATA:
            wrong = {"metadata": field_error(f"At most {MOST_METADATA} of them are looked for at once.", "too_many")}
        values: Any = {"metadata": {name.removeprefix("metadata."): text for name, text in wanted.items()}}
        try:
            values |= super().to_internal_value(data)
        except ValidationError as error:
            wrong = merged(wrong, error.detail)
        if wrong:
            raise ValidationError(wrong)
        return values


class ImageQuery(PageQuery):
    unused = StrictChoice(
        ("true", "false"),
        required=False,
        help_text="`true`: only pictures that no search uses. `false`: only pictures that a search uses.",
    )
    created_after = Instant(required=False)
    created_before = Instant(required=False)


class ResultQuery(PageQuery):
    lookup = serializers.UUIDField(required=False, help_text="Only results of this lookup.")
    source: Any = StrictChoice(SOURCES, required=False, help_text="Only results of this source.")
    type = StrictChoice(
        sorted({adapter.result_type for adapter in registry.ADAPTERS.values()}),
        required=False,
        help_text="Only results of this type.",
    )
    order = StrictChoice(
        ("rank", "arrival"),
        default="rank",
        help_text="`rank`: by lookup and rank, those that had arrived when the first page was read. `arrival`: in the order of "
        "arrival. No result is skipped while more arrive, and the `next_cursor` of the last page continues with later results.",
    )
    include = StrictChoice(("raw",), required=False, help_text="`raw`: adds the provider's own object, unchanged.")
