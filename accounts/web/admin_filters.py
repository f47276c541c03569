"""Filters of the operators' lists: by tenant, by a column's choices, by age, and by conditions."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter

from accounts.ids import first_id_of

if TYPE_CHECKING:  # unfold has no types of its own; this one is Django's
    from django.contrib.admin import SimpleListFilter as DropdownFilter
else:
    from unfold.contrib.filters.admin import DropdownFilter

__all__ = ["DropdownFilter"]

ByTenant = ("tenant", AutocompleteSelectFilter)


def by_choice(field: str) -> tuple[str, Any]:
    return (field, ChoicesDropdownFilter)


class MadeWithin(DropdownFilter):
    """Filters by age, through the primary key: UUIDs of version 7 begin with the millisecond at which they were made."""

    title = "age"
    parameter_name = "made"
    spans: ClassVar[dict[str, tuple[str, timedelta]]] = {
        "hour": ("the past hour", timedelta(hours=1)),
        "day": ("the past 24 hours", timedelta(days=1)),
        "week": ("the past 7 days", timedelta(days=7)),
        "month": ("the past 30 days", timedelta(days=30)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, words) for name, (words, _) in self.spans.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        span = self.spans.get(self.value() or "")
        # A bulk act reads the filter again and again, each time as it was when the act was started.
        moment = getattr(request, "moment", None) or timezone.now()
        return queryset.filter(pk__gte=first_id_of(moment - span[1])) if span else queryset


class ByCondition(DropdownFilter):
    """Offers words, each for the rows that meet a condition."""

    conditions: ClassVar[dict[str, Q]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(word, word) for word in self.conditions]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        return queryset.filter(self.conditions.get(self.value() or "", Q()))
