"""The pages of endpoints, events and deliveries. They are read-only, except that an endpoint can be disabled and enabled and its
secret rotated, and deliveries sent once more. A new secret is shown once, in the dialog that makes it.
"""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import ChoicesDropdownFilter
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from accounts.admin.tenants import MODE_COLOURS
from accounts.bulk_acts.kinds import BulkKind, Skipped, Written
from accounts.bulk_acts.pages import BulkActs
from accounts.models import Attempt, Delivery, Endpoint, Event
from accounts.web.admin_base import Record, RecordInline
from accounts.web.admin_columns import badge, badge_column, indented, link, list_of, moment, page_of, reason
from accounts.web.admin_dialogs import ActionVariant, DialogForm, Done, NotDone, OptionalReasonForm, dialog
from accounts.web.admin_filters import ByCondition, ByTenant, MadeWithin, by_choice
from accounts.webhooks import endpoints, redelivery

TOO_OFTEN = "It was tried as often as one delivery may be."
DISABLED = "Its endpoint is disabled."
TOO_LONG = (
    f"There are more than {redelivery.MOST_RESENT:,} in this span; choose a shorter one, or resend all that match from the list "
    "of deliveries."
)
# The choices of a range, and the states that each means.
STATES = {
    "failed": (Delivery.State.FAILED,),
    "delivered": (Delivery.State.DELIVERED,),
    "failed and delivered": (Delivery.State.FAILED, Delivery.State.DELIVERED),
}
MINUTE = "%Y-%m-%d %H:%M"
ENDPOINT_COLOURS = {"enabled": "success", "failing": "warning", "disabled": "danger"}
DELIVERY_COLOURS = {"pending": "info", "delivered": "success", "failed": "danger"}


class RangeForm(OptionalReasonForm):
    """Asks for a span of time, and for which deliveries in it."""

    since = forms.DateTimeField(widget=UnfoldAdminTextInputWidget, help_text="In UTC, such as 2026-11-30 08:00.")
    until = forms.DateTimeField(widget=UnfoldAdminTextInputWidget, help_text="Up to, not including, this time in UTC.")
    states = forms.ChoiceField(choices=[(name, name) for name in STATES], widget=UnfoldAdminSelectWidget)

    def clean(self) -> dict[str, Any]:
        chosen: dict[str, Any] = super().clean() or self.cleaned_data
        if "since" in chosen and "until" in chosen and chosen["since"] >= chosen["until"]:
            raise forms.ValidationError("The span ends before it begins; let since be before until.")
        return chosen


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
    list_display = ("url", "tenant", "mode_badge", "state", "why", "created_at")
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
    actions_detail = ("enable", "resend_range", "rotate", "disable")
    mode_badge = badge_column("mode", MODE_COLOURS)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Endpoint]:
        return super().get_queryset(request).defer(*self.secret_fields)

    @admin.display(description="state")
    def state(self, obj: Endpoint) -> SafeString:
        state = "failing" if obj.failing_since else "enabled"
        return badge(state if obj.enabled else "disabled", ENDPOINT_COLOURS)

    @admin.display(description="why")
    def why(self, obj: Endpoint) -> SafeString:
        """Returns why it is disabled, or since when its deliveries fail, and until when it asked to be left alone."""
        if not obj.enabled:
            return reason("disabled", obj.disabled_reason)
        if obj.failing_since:
            return reason("every delivery fails", format_html("since {}", moment(obj.failing_since)))
        if obj.quiet_until and obj.quiet_until > timezone.now():
            return reason("asked for a pause", format_html("which ends {}", moment(obj.quiet_until)))
        return SafeString("-")

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

    @dialog(
        "Rotate the secret",
        permission="accounts.change_endpoint",
        icon="autorenew",
        needs_reason=True,
        title="Make a new signing secret?",
        text="It is shown once. Deliveries are signed with the present secret too for a day, so that the receiver can change "
        "over.",
        button="Rotate",
    )
    def rotate(self, endpoint: Endpoint, form: DialogForm) -> Done:
        secret = endpoints.rotate(endpoint)
        said = "Rotated; the former secret signs for a day more."
        return Done(record=said, message="The new signing secret", secret=secret)

    @dialog(
        "Resend a range",
        permission="accounts.change_delivery",
        icon="replay",
        form_class=RangeForm,
        offered=lambda endpoint: endpoint.enabled,
        title="Send a range once more?",
        text="The deliveries of the events in a span of time are sent once more, with the same webhook-id and body as before.",
        button="Send",
    )
    def resend_range(self, endpoint: Endpoint, form: RangeForm) -> Done:
        chosen = form.cleaned_data
        try:
            count = redelivery.redeliver_range(
                endpoint, since=chosen["since"], until=chosen["until"], states=STATES[chosen["states"]]
            )
        except redelivery.RangeTooLong:
            raise NotDone(TOO_LONG) from None
        said = f"Sent {count:,} once more: {chosen['states']}, from {chosen['since']:{MINUTE}} to {chosen['until']:{MINUTE}} UTC."
        return Done(record=said, message=f"{count:,} deliveries are on their way once more.")


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


def resend(delivery: Delivery, written: Written) -> None:
    if not delivery.endpoint.enabled:
        raise Skipped(DISABLED)
    try:
        with transaction.atomic():
            redelivery.redeliver(delivery)
            written()
    except redelivery.TooManyAttempts:
        raise Skipped(TOO_OFTEN) from None


RESEND = BulkKind(
    name="redeliver",
    label="Resend all that match",
    icon="replay",
    text="Sends every delivery that matches once more, with the same webhook-id and body as before. Delivered ones are sent "
    "again too.",
    button="Resend the deliveries",
    permission="accounts.change_delivery",
    act=resend,
    weigh=lambda rows: ["It costs no credits. Each is a request to the tenant's server, at the pace of its endpoint."],
)


@admin.register(Delivery)
class DeliveryAdmin(BulkActs, Record):
    icon = "outgoing_mail"
    list_display = (
        "created_at",
        "tenant",
        "event",
        "endpoint",
        "state_badge",
        "why",
        "attempt_count",
        "next_attempt_at",
    )
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
    bulk_kinds = (RESEND,)
    state_badge = badge_column("state", DELIVERY_COLOURS)

    def attach(self, rows: list[Any]) -> None:
        """Reads the last attempt of each delivery."""
        last = Attempt.objects.filter(delivery__in=rows, number=F("delivery__attempt_count"))
        attempts = {attempt.delivery_id: attempt for attempt in last.defer("answer")}
        for delivery in rows:
            delivery.last_attempt = attempts.get(delivery.pk)

    @admin.display(description="why")
    def why(self, obj: Any) -> SafeString:
        """Returns why the last attempt failed, or why none is made."""
        if obj.state == Delivery.State.PENDING and not obj.endpoint.enabled:
            return reason("endpoint_disabled", obj.endpoint.disabled_reason)
        attempt = obj.last_attempt if obj.state != Delivery.State.DELIVERED else None
        return reason(attempt.cause, attempt.detail) if attempt else SafeString("-")

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
            raise NotDone(TOO_OFTEN) from None
        return Done(record="Sent once more.", message="It is on its way once more.")
