"""The pages of tenants' queues in the lanes, with their places in line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from accounts.web.admin_base import Record
from accounts.web.admin_filters import ByTenant
from searches.admin.columns import ByLaneProvider
from searches.lanes import next_in_line
from searches.models import TenantQueue


def attach_places(rows: Iterable[Any]) -> None:
    """Attaches to each tenant queue its place in line, in one query."""
    listed = list(rows)
    found = next_in_line.places(listed) if listed else {}
    for row in listed:
        row.place = found.get(row.pk)


def place_text(place: int | None) -> str:
    """Returns a tenant queue's place for reading. A queue without one is skipped by claims."""
    if place is None:
        return "not in line"
    return f"{place:,}" if place <= next_in_line.LAST_PLACE else f"after the first {next_in_line.LAST_PLACE:,}"


@admin.register(TenantQueue)
class TenantQueueAdmin(Record):
    icon = "groups"
    list_display = ("lane", "tenant", "place_in_line", "ready", "pending_calls", "wake_at", "rests_until")
    list_select_related = ("lane", "tenant")
    list_filter = (ByTenant, ByLaneProvider)
    search_fields = ("tenant__name", "lane__name")
    search_help_text = "A tenant, a lane, or a tenant's id"
    ordering = ("lane", "virtual_time")
    sortable_by = None
    id_fields = ("tenant",)
    fields = list_display

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        changes = super().get_changelist_instance(request)
        attach_places(changes.result_list)
        return changes

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            attach_places([row])
        return row

    @admin.display(description="place in line")
    def place_in_line(self, obj: Any) -> str:
        return place_text(obj.place)
