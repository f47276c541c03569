"""Filters of billing's admin pages, by what a row's account has."""

from __future__ import annotations

from django.db.models import Model, QuerySet
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from providers.admin import ByProvider


class ByAccountProvider(ByProvider):
    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        return queryset.filter(account__provider=self.value()) if self.value() else queryset


ByAccountTenant = ("account__tenant", AutocompleteSelectFilter)
