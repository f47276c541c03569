"""The pages of endpoints, events and deliveries. They are read-only, except that an endpoint can be disabled and enabled, and a
delivery sent once more. No page shows a secret.
"""

from __future__ import annotations

import json
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter

from accounts.admin.tenants import MODE_COLOURS
from accounts.models import Attempt, Delivery, Endpoint, Event
from accounts.web.admin_base import Record, RecordInline
from accounts.web.admin_columns import badge, badge_column, indented, link, list_of, page_of
from accounts.web.admin_dialogs import ActionVariant, DialogForm, Done, NotDone, dialog
from accounts.web.admin_filters import ByCondition, ByTenant, MadeWithin, by_choice
from accounts.webhooks import endpoints, redelivery

ENDPOINT_COLOURS = {"enabled": "success", "failing": "warning", "disabled": "danger"}
DELIVERY_COLOURS = {"pending": "info", "delivered": "success", "failed": "danger"}


class ByEndpointState(ByCondition):
    title, parameter_name = "state", "state"
    conditions = {
        "enabled": Q(enabled=True, failing_since=None),
        "failing": Q(enabled=True, failing_since__isnull=False),
        "disabled": Q(enabled=False),
    }


@admin.register(Endpoint)
class EndpointAdmin(Record):
    icon = "webhook"
    list_display = ("url", "tenant", "mode_badge", "state", "disabled_reason", "failing_since", "created_at")
    list_select_related = ("tenant",)
    list_filter = (ByTenant, by_choice("mode"), ByEndpointState)
    search_fields = ("tenant__name", "url", "description")
    search_help_text = "A tenant, a part of the URL or the description, or an id"
    secret_fields = ("sealed", "previous_sealed")
    fieldsets = (
        (None, {"fields": (("url", "tenant"), ("description", "mode_badge"), ("types", "its_deliveries"))}),
        ("Health", {"fields": (("state", "disabled_reason"), ("failing_since", "quiet_until"), "slow")}),
        ("On record", {"fields": (("created_at", "updated_at"), ("previous_until", "id"))}),
    )
    actions_detail = ("enable", "disable")
    mode_badge = badge_column("mode", MODE_COLOURS)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Endpoint]:
        return super().get_queryset(request).defer(*self.secret_fields)

    @admin.display(description="state")
    def state(self, obj: Endpoint) -> SafeString:
        state = "failing" if obj.failing_since else "enabled"
        return badge(state if obj.enabled else "disabled", ENDPOINT_COLOURS)

    @admin.display(description="events")
    def types(self, obj: Endpoint) -> str:
        return ", ".join(obj.events) or "all"

    @admin.display(description="deliveries")
    def its_deliveries(self, obj: Endpoint) -> SafeString:
        return link(list_of(Delivery, endpoint__id__exact=obj.pk), "its deliveries")

    @dialog(
        "Enable",
        permission="accounts.change_endpoint",
        icon="notifications_active",
        offered=lambda endpoint: not endpoint.enabled,
        title="Enable this endpoint?",
        text="It gets events from now on. Deliveries that failed meanwhile can be sent once more.",
        button="Enable",
    )
    def enable(self, endpoint: Endpoint, form: DialogForm) -> Done:
        endpoints.enable(endpoint)
        return Done(record="Enabled.", message="The endpoint is enabled.")

    @dialog(
        "Disable",
        permission="accounts.change_endpoint",
        icon="notifications_off",
        needs_reason=True,
        variant=ActionVariant.DANGER,
        offered=lambda endpoint: endpoint.enabled,
        title="Disable this endpoint?",
        text="It gets no more events, and deliveries that become due fail. The tenant's other endpoints get an event.",
        button="Disable",
    )
    def disable(self, endpoint: Endpoint, form: DialogForm) -> Done:
        endpoints.disable(endpoint, endpoints.BY_OPERATOR)
        return Done(record="Disabled.", message="The endpoint is disabled.")


class DeliveryInline(RecordInline):
    model = Delivery
    fields = ("to", "state_badge", "attempt_count", "next_attempt_at", "finished_at")
    state_badge = badge_column("state", DELIVERY_COLOURS)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        return super().get_queryset(request).select_related("endpoint")

    @admin.display(description="to")
    def to(self, obj: Delivery) -> SafeString:
        return link(page_of(obj), obj.endpoint)


@admin.register(Event)
class EventAdmin(Record):
    icon = "campaign"
    list_display = ("created_at", "type", "tenant", "mode_badge", "id")
    list_select_related = ("tenant",)
    list_filter = (ByTenant, by_choice("type"), by_choice("mode"), MadeWithin)
    search_fields = ("tenant__name",)
    search_help_text = "A tenant, or the id of an event (its webhook-id) or of the search that it is about"
    fields = (("type", "tenant"), ("mode_badge", "created_at"), ("reference", "id"), "body_as_json")
    inlines = (DeliveryInline,)
    mode_badge = badge_column("mode", MODE_COLOURS)

    def matching(self, wanted: UUID) -> Q:
        return Q(pk=wanted) | Q(reference=f"search:{wanted}")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Event]:
        """Leaves out the large column, which an event's own page fetches."""
        return super().get_queryset(request).defer("body")

    @admin.display(description="body")
    def body_as_json(self, obj: Event) -> SafeString:
        return indented(json.loads(obj.body))


class AttemptInline(RecordInline):
    model = Attempt
    fields = ("number", "started_at", "took", "status", "cause", "detail", "answer")
    ordering = ("-number",)

    @admin.display(description="took")
    def took(self, obj: Attempt) -> str:
        return f"{obj.duration_ms:,} ms"


@admin.register(Delivery)
class DeliveryAdmin(Record):
    icon = "outgoing_mail"
    list_display = ("created_at", "tenant", "event", "endpoint", "state_badge", "attempt_count", "next_attempt_at")
    list_select_related = ("tenant", "event", "endpoint")
    list_filter = (ByTenant, by_choice("state"), ("event__type", ChoicesDropdownFilter), MadeWithin)
    search_fields = ("tenant__name",)
    search_help_text = "A tenant, or the id of a delivery, an event or an endpoint"
    id_fields = ("pk", "event", "endpoint")
    fields = (
        ("event", "endpoint"),
        ("tenant", "state_badge"),
        ("created_at", "finished_at"),
        ("attempt_count", "next_attempt_at"),
        "id",
    )
    inlines = (AttemptInline,)
    actions_detail = ("redeliver",)
    state_badge = badge_column("state", DELIVERY_COLOURS)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Delivery]:
        """Leaves out the large columns of events and endpoints, of which only the name is shown."""
        return super().get_queryset(request).defer("event__body", "endpoint__sealed", "endpoint__previous_sealed")

    @dialog(
        "Redeliver",
        permission="accounts.change_delivery",
        icon="replay",
        offered=lambda delivery: delivery.endpoint.enabled,
        title="Send it once more?",
        text="It is sent at once, and again by the schedule if it fails, with the same webhook-id and body as before.",
        button="Send",
    )
    def redeliver(self, delivery: Delivery, form: DialogForm) -> Done:
        try:
            redelivery.redeliver(delivery)
        except redelivery.TooManyAttempts:
            raise NotDone("It was tried as often as one delivery may be.") from None
        return Done(record="Sent once more.", message="It is on its way once more.")
