"""The query parameters of the ledger and of usage."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.web.pagination import PageQuery
from accounts.web.query_params import Instant, refuse_empty_range
from accounts.web.strict_fields import StrictChoice
from billing.models import Entry
from billing.usage import COLUMNS, METADATA
from providers import registry

# A report of more would be no summary. All four kinds can be combined, or several keys of metadata.
MOST_GROUPS = 4
METADATA_GROUP = re.compile(re.escape(METADATA) + r"[A-Za-z0-9_.-]{1,40}")
GROUP = "|".join((*COLUMNS, METADATA_GROUP.pattern))
PROVIDERS, SOURCES = sorted(registry.PROVIDERS), sorted(registry.ADAPTERS)


class EntryQuery(PageQuery):
    provider = StrictChoice(PROVIDERS, required=False, help_text="Only entries of the account with this provider.")
    kind = StrictChoice(Entry.Kind.values, required=False, help_text="Only entries of this kind.")
    lookup = serializers.UUIDField(required=False, help_text="Only entries of this lookup.")
    created_after = Instant(required=False)
    created_before = Instant(required=False)

    def validate(self, values: Any) -> Any:
        refuse_empty_range(values, of="entry")
        return values


class StartOfDay(Instant):
    """A time at which a UTC day begins. Any other would part a day, and usage is kept by day."""

    default_error_messages = {"part_of_a_day": "Must be the beginning of a UTC day, such as 2026-11-01T00:00:00Z."}

    def to_internal_value(self, value: Any) -> Any:
        moment: datetime = super().to_internal_value(value)
        try:
            moment = moment.astimezone(UTC)
        except OverflowError:
            self.fail("invalid")
        return moment.date() if moment.time() == time() else self.fail("part_of_a_day")


@extend_schema_field({"type": "string", "pattern": f"^({GROUP})(,({GROUP})){{0,{MOST_GROUPS - 1}}}$"})
class Groups(serializers.CharField):
    """Names with commas between them: what a line of the report is about."""

    default_error_messages = {
        "unknown": "Cannot group by {given}; take day, source, api_key or metadata.<key>, with commas between them.",
        "repeated": "Names {given} twice; name it once.",
        "too_many": "Names {count} groups; take at most {most}.",
    }

    def to_internal_value(self, value: Any) -> Any:
        names = tuple(super().to_internal_value(value).split(","))
        if len(names) > MOST_GROUPS:
            self.fail("too_many", count=len(names), most=MOST_GROUPS)
        for number, name in enumerate(names):
            if name not in COLUMNS and not METADATA_GROUP.fullmatch(name):
                self.fail("unknown", given=f"'{name[:60]}'")
            if name in names[:number]:
                self.fail("repeated", given=name)
        return names


class UsageQuery(PageQuery):
    group_by = Groups(
        default="day",
        help_text=f"What a line is about: `day`, `source`, `api_key`, `metadata.<key>`, or up to {MOST_GROUPS} of them with "
        "commas between, as in `day,source`. Lines are ordered by provider, and then in this order.",
    )
    provider = StrictChoice(PROVIDERS, required=False, help_text="Only what was used of this provider.")
    source: Any = StrictChoice(SOURCES, required=False, help_text="Only what was used for this source.")
    created_after = StartOfDay(required=False, help_text="From the UTC day on that begins then.")
    created_before = StartOfDay(required=False, help_text="Until the end of the UTC day before.")

    def validate(self, values: Any) -> Any:
        if isinstance(values["group_by"], str):
            values["group_by"] = (values["group_by"],)
        refuse_empty_range(values, of="day")
        return values
