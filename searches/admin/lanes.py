"""The admin's pages of lanes and tenant queues. A lane's page shows why it is paused. Operators pause and resume the lane, and
end a pause that the provider asked for or that the breaker made.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Case, Count, Exists, OuterRef, Q, QuerySet, Sum, When
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.safestring import SafeString

from accounts.web.admin_base import Record, RecordInline
from accounts.web.admin_columns import badge, badge_column
from accounts.web.admin_dialogs import ActionVariant, DialogForm, Done, NotDone, dialog
from accounts.web.admin_filters import ByTenant, by_choice
from providers.limiter import Unavailable
from providers.models import Credential
from searches.admin.columns import MODE_COLOURS, ByLaneProvider, ByPolicy
from searches.lanes import estimates, pauses
from searches.models import Lane, TenantQueue

# The most resting keys that a lane's page names.
MOST_NAMED = 20
STATE_COLOURS = {"running": "success", "paused": "warning"}


class TenantQueueInline(RecordInline):
    model = TenantQueue
    fields = ("tenant", "ready", "pending_calls", "wake_at", "rests_until", "virtual_time")

    def get_queryset(self, request: HttpRequest) -> QuerySet[TenantQueue]:
        """Orders the queues as claims do, with the resting ones behind them, and those without ready lookups at the end."""
        waiting = Case(When(ready__gt=0, rests_until=None, then=0), When(ready__gt=0, then=1), default=2)
        return super().get_queryset(request).select_related("tenant").order_by(waiting, "virtual_time", "tenant")


def _can_end_pause(lane: Any) -> bool:
    return pauses.resumes_at(lane, lane.moment) is not None or lane.trips > 0 or lane.key_rests


@admin.register(Lane)
class LaneAdmin(Record):
    icon = "linear_scale"
    list_display = ("name", "policy", "mode_badge", "state", "waiting", "tenants", "paused_until", "broken_until")
    list_select_related = ("policy",)
    list_filter = (ByPolicy, by_choice("mode"), "paused")
    search_fields = ("name",)
    search_help_text = "A lane, a provider, or the id of a test key's tenant"
    ordering = ("name",)
    sortable_by = None
    mode_badge = badge_column("mode", MODE_COLOURS)
    fields = (
        ("name", "mode_badge"),
        "policy",
        "why",
        ("waiting", "expected_wait"),
        ("paused_until", "backoff"),
        ("resting", "guard"),
        ("broken_until", "trips"),
        ("claimed_at", "virtual_time"),
    )
    inlines = (TenantQueueInline,)
    actions_detail = ("pause", "resume", "end_pause")

    def matching(self, wanted: UUID) -> Q:
        return Q(pk__endswith=f":{wanted}")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Lane]:
        """Adds counts of the tenant queues: as many rows as tenants, however many lookups wait."""
        tenants = Count("tenant_queues", filter=Q(tenant_queues__ready__gt=0))
        ready = Sum("tenant_queues__ready", default=0)
        lanes: QuerySet[Lane] = super().get_queryset(request)
        # Single keys rest in a shared lane only. The lane of one account is paused as a whole.
        rests = Exists(Credential.objects.filter(provider=OuterRef("pk"), rests_until__gt=Now()))
        return lanes.annotate(waiting_tenants=tenants, ready=ready, moment=Now(), key_rests=rests)

    @admin.display(description="ready lookups", ordering="ready")
    def waiting(self, obj: Any) -> int:
        return int(obj.ready)

    @admin.display(description="waiting tenants", ordering="waiting_tenants")
    def tenants(self, obj: Any) -> int:
        return int(obj.waiting_tenants)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        lane: Any = super().get_object(request, object_id, from_field)
        if lane is not None:
            lane.state = estimates.lane_state(lane.pk, lane.policy_in_force)
        return lane

    @admin.display(description="a new tenant waits")
    def expected_wait(self, obj: Any) -> str:
        seconds = obj.state.expected_wait_seconds
        return "until it is resumed" if seconds is None else f"about {seconds:,.1f} s"

    @admin.display(description="state", ordering="paused")
    def state(self, obj: Any) -> SafeString:
        return badge("paused" if pauses.reasons(obj, obj.moment) else "running", STATE_COLOURS)

    @admin.display(description="why it is paused")
    def why(self, obj: Any) -> str:
        return " ".join(pauses.reasons(obj, obj.moment)) or "It is not paused."

    @admin.display(description="resting keys")
    def resting(self, obj: Any) -> str:
        """Returns the keys that the provider asked to wait."""
        keys = pauses.resting_keys(obj, obj.moment).select_related("tenant").order_by("rests_until")
        named = [f"{key.tenant}: {key.label}, until {key.rests_until:%H:%M:%S} UTC" for key in keys[: MOST_NAMED + 1]]
        return "; ".join([*named[:MOST_NAMED], *(["and others"] if named[MOST_NAMED:] else [])]) or "none"

    @admin.display(description="guard")
    def guard(self, obj: Any) -> str:
        """Returns how much longer than the provider's window the interval of calls is."""
        own = obj.limiter.rate.guard_us / 1000
        try:
            learned = obj.limiter.margin_ms()
        except Unavailable:
            return f"{own:g} ms of the policy's; what the lane has learned is in Redis, which cannot be reached"
        return f"{own + learned:.3f} ms: {own:g} of the policy's, {learned:.3f} learned from calls that came too early"

    @dialog(
        "Pause",
        permission="searches.change_lane",
        icon="pause",
        needs_reason=True,
        variant=ActionVariant.DANGER,
        offered=lambda lane: not lane.paused,
        title="Pause this lane?",
        text="Its lookups wait, and no more calls are made for them. A call that was sent is finished.",
        button="Pause the lane",
    )
    def pause(self, lane: Lane, form: DialogForm) -> Done:
        pauses.pause(lane)
        return Done(record="Paused.", message="The lane is paused.")

    @dialog(
        "Resume",
        permission="searches.change_lane",
        icon="play_arrow",
        offered=lambda lane: lane.paused,
        title="Resume this lane?",
        text="Its lookups keep their order.",
        button="Resume the lane",
    )
    def resume(self, lane: Lane, form: DialogForm) -> Done:
        pauses.resume(lane)
        return Done(record="Resumed.", message="The lane is resumed.")

    @dialog(
        "End the pause",
        permission="searches.change_lane",
        icon="fast_forward",
        asks_outside=True,
        offered=_can_end_pause,
        title="End the pause now?",
        text="The pause that the provider asked for, the rests of single keys and the breaker's pause end. Calls are made at "
        "once, within the limit. If the provider refuses one, the lane is paused again.",
        button="End the pause",
    )
    def end_pause(self, lane: Lane, form: DialogForm) -> Done:
        try:
            pauses.clear(lane)
        except Unavailable:
            raise NotDone("Redis cannot be reached, so the pause has not ended; try again.") from None
        return Done(record="Ended its pause.", message="The pause is over.")


@admin.register(TenantQueue)
class TenantQueueAdmin(Record):
    icon = "groups"
    list_display = ("lane", "tenant", "ready", "pending_calls", "wake_at", "rests_until", "virtual_time")
    list_select_related = ("lane", "tenant")
    list_filter = (ByTenant, ByLaneProvider)
    search_fields = ("tenant__name", "lane__name")
    search_help_text = "A tenant, a lane, or a tenant's id"
    ordering = ("lane", "virtual_time")
    sortable_by = None
    id_fields = ("tenant",)
    fields = list_display
