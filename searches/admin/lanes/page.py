"""The admin's pages of lanes. A lane's page shows why it is paused, who is next, who uses it, and its last calls. Operators pause
and resume the lane, end a pause that the provider asked for or that the breaker made, and compare waits under other terms.
"""

from __future__ import annotations

from typing import Any, ClassVar
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Exists, OuterRef, Q, QuerySet, Sum
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from accounts.web.admin_base import Record
from accounts.web.admin_columns import badge, badge_column, list_of
from accounts.web.admin_dialogs import ActionVariant, DialogForm, Done, NotDone, dialog
from accounts.web.admin_filters import by_choice
from providers.limiter import Unavailable
from providers.models import Credential
from searches.admin.columns import MODE_COLOURS, ByPolicy
from searches.admin.lane_states import ByLaneState
from searches.admin.lanes import history, line, time_line, what_if
from searches.admin.lanes.terms import may_compare
from searches.lanes import estimates, next_in_line, pauses
from searches.models import Call, Lane, Lookup, TenantQueue

# The most resting keys that a lane's page names.
MOST_NAMED = 20
STATE_COLOURS = {"running": "success", "paused": "warning"}


def _can_end_pause(lane: Any) -> bool:
    return pauses.resumes_at(lane, lane.moment) is not None or lane.trips > 0 or lane.key_rests


def _resting_names(lane: Any) -> list[str]:
    keys = pauses.resting_keys(lane, lane.moment).select_related("tenant").order_by("rests_until")
    return [f"{key.tenant}: {key.label}, until {key.rests_until:%H:%M:%S} UTC" for key in keys[: MOST_NAMED + 1]]


def _line(lane: Any) -> dict[str, Any]:
    everything = list_of(Lookup, lane__name__exact=lane.pk)
    return {
        "in_line": line.table(lane, lane.moment),
        "line_empty": line.EMPTY,
        "most": next_in_line.MOST,
        "all_lookups": everything,
    }


def _calls(lane: Any) -> dict[str, Any]:
    return {"time_line": time_line.of(lane, lane.moment)}


def _users(lane: Lane) -> dict[str, Any]:
    everyone = list_of(TenantQueue, lane__name__exact=lane.pk)
    return {"users": history.users(lane), "users_empty": history.NO_USERS, "all_queues": everyone}


@admin.register(Lane)
class LaneAdmin(Record):
    icon = "linear_scale"
    list_display = ("name", "policy", "mode_badge", "state", "waiting", "tenants", "paused_until", "broken_until")
    list_select_related = ("policy",)
    list_filter = (ByPolicy, by_choice("mode"), ByLaneState, "paused")
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
        "claimed_at",
    )
    change_form_outer_after_template = "admin/searches/lane/lane.html"
    actions_detail = ("pause", "resume", "end_pause")

    class Media:
        css: ClassVar[dict[str, list[str]]] = {"all": ["sightline/lanes.css"]}

    def matching(self, wanted: UUID) -> Q:
        return Q(pk__endswith=f":{wanted}")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Lane]:
        """Adds counts of the tenant queues: as many rows as tenants, however many lookups wait."""
        tenants = Count("tenant_queues", filter=Q(tenant_queues__ready__gt=0))
        ready = Sum("tenant_queues__ready", default=0)
        lanes: QuerySet[Lane] = super().get_queryset(request).select_related("policy")
        # Single keys rest in a shared lane only. The lane of one account is paused as a whole.
        rests = Exists(Credential.objects.filter(provider=OuterRef("pk"), rests_until__gt=Now()))
        return lanes.annotate(waiting_tenants=tenants, ready=ready, moment=Now(), key_rests=rests)

    @admin.display(description="ready lookups", ordering="ready")
    def waiting(self, obj: Any) -> int:
        return int(obj.ready)

    @admin.display(description="waiting tenants", ordering="waiting_tenants")
    def tenants(self, obj: Any) -> int:
        return int(obj.waiting_tenants)

    def get_urls(self) -> list[URLPattern]:
        compare = self.admin_site.admin_view(self.compare)
        return [path("<path:object_id>/what_if/", compare, name="searches_lane_what_if"), *super().get_urls()]

    def compare(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Answers the lane's waits under the limit and the weight in the address, as a part of its page."""
        lane = self.row(request, object_id)
        if not (self.has_view_permission(request, lane) and may_compare(self, request)):
            raise PermissionDenied
        return what_if.answer(request, what_if.LaneForm(request.GET, lane.policy_in_force), [lane])

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Adds the parts of the page, each only if the operator may see that kind of row.

        What asks the database is attached to the lane, because a page reads each of its fields several times.
        """
        lane, pages = context["original"], self.admin_site._registry
        lane.expected_seconds = estimates.lane_state(lane.pk, lane.policy_in_force).expected_wait_seconds
        lane.resting_names = _resting_names(lane)
        for model, part in ((Lookup, _line), (TenantQueue, _users), (Call, _calls)):
            if pages[model].has_view_permission(request):
                context |= part(lane)
        context["charts"] = history.charts(lane)
        if may_compare(self, request):
            context["what_if"] = reverse("admin:searches_lane_what_if", args=[quote(lane.pk)])
            context["what_if_form"] = what_if.LaneForm(None, lane.policy_in_force)
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="a new tenant waits")
    def expected_wait(self, obj: Any) -> str:
        return what_if.wait_text(obj.expected_seconds)

    @admin.display(description="state", ordering="paused")
    def state(self, obj: Any) -> SafeString:
        return badge("paused" if pauses.reasons(obj, obj.moment) else "running", STATE_COLOURS)

    @admin.display(description="why it is paused")
    def why(self, obj: Any) -> str:
        return " ".join(pauses.reasons(obj, obj.moment)) or "It is not paused."

    @admin.display(description="resting keys")
    def resting(self, obj: Any) -> str:
        """Returns the keys that the provider asked to wait."""
        named = obj.resting_names
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
