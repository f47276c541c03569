"""The lanes and the places in their lines."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Count, Q, QuerySet, Sum
from django.db.models.functions import Least
from django.http import HttpRequest
from django.utils.safestring import SafeString

from accounts.operators import ByTenant, Record, RecordInline, badge, by_choice
from providers import policies
from searches import forecasts
from searches.admin.showing import MODE_COLOURS, ByLaneProvider, ByPolicy
from searches.models import Lane, Place


class PlaceInline(RecordInline):
    model = Place
    fields = ("tenant", "ready", "wake_at", "virtual_time")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Place]:
        """In the order of their turns, those with nothing to do last."""
        return (
            super()
            .get_queryset(request)
            .select_related("tenant")
            .order_by(Least("ready", 1).desc(), "virtual_time", "tenant")
        )


@admin.register(Lane)
class LaneAdmin(Record):
    icon = "linear_scale"
    list_display = ("name", "policy", "mode_badge", "waiting", "tenants", "paused_until", "backoff")
    list_select_related = ("policy",)
    list_filter = (ByPolicy, by_choice("mode"))
    search_fields = ("name",)
    search_help_text = "A lane, a provider, or the id of a test key's tenant"
    ordering = ("name",)
    sortable_by = None
    fields = ("name", "policy", "mode_badge", "waiting", "expected_wait", "paused_until", "backoff", "virtual_time")
    readonly_fields = fields
    inlines = (PlaceInline,)

    def names(self, wanted: UUID) -> Q:
        return Q(pk__endswith=f":{wanted}")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Lane]:
        """The lines are counted by their places: as many rows as tenants, however many lookups wait."""
        in_line = Count("places", filter=Q(places__ready__gt=0))
        lanes: QuerySet[Lane] = super().get_queryset(request)
        return lanes.annotate(in_line=in_line, line=Sum("places__ready", default=0))

    @admin.display(description="mode", ordering="mode")
    def mode_badge(self, obj: Lane) -> SafeString:
        return badge(obj.mode, MODE_COLOURS)

    @admin.display(description="ready to go", ordering="line")
    def waiting(self, obj: Any) -> int:
        return int(obj.line)

    @admin.display(description="tenants in line", ordering="in_line")
    def tenants(self, obj: Any) -> int:
        return int(obj.in_line)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        lane: Any = super().get_object(request, object_id, from_field)
        if lane is not None:
            lane.state = forecasts.lane_state(lane.pk, policies.in_force(lane.policy, lane.mode))
        return lane

    @admin.display(description="a newcomer waits")
    def expected_wait(self, obj: Any) -> str:
        return f"about {obj.state.expected_wait_seconds:,.1f} s"


@admin.register(Place)
class PlaceAdmin(Record):
    icon = "groups"
    list_display = ("lane", "tenant", "ready", "wake_at", "virtual_time")
    list_select_related = ("lane", "tenant")
    list_filter = (ByTenant, ByLaneProvider)
    search_fields = ("tenant__name", "lane__name")
    search_help_text = "A tenant, a lane, or a tenant's id"
    ordering = ("lane", "virtual_time")
    sortable_by = None
    id_fields = ("tenant",)
    fields = ("lane", "tenant", "ready", "wake_at", "virtual_time")
    readonly_fields = fields
