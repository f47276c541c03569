"""The page of bulk acts: how far each is, what became of its rows, and a button that stops it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from accounts.admin.acts import ByKind
from accounts.bulk_acts import runs
from accounts.models import Act, BulkAct
from accounts.web.admin_base import Record
from accounts.web.admin_columns import badge_column, link, list_of
from accounts.web.admin_dialogs import ActionVariant, DialogForm, Done, NotDone, dialog
from accounts.web.admin_filters import ByTenant, MadeWithin, by_choice

STATE_COLOURS = {"running": "info", "stopped": "warning", "ended": "success"}
ENDED = "It ended before it could be stopped."


@admin.register(BulkAct)
class BulkActAdmin(Record):
    icon = "checklist"
    list_display = ("created_at", "name", "kind", "filter", "state_badge", "outcome", "reason")
    list_filter = (("operator", AutocompleteSelectFilter), ByTenant, ByKind, by_choice("state"), MadeWithin)
    search_fields = ("name__exact",)
    search_help_text = "An operator's name, or the id of a bulk act"
    fields = (
        ("state_badge", "note"),
        ("kind", "object_type"),
        ("filter", "reason"),
        ("name", "address"),
        ("created_at", "finished_at"),
        ("done", "rows"),
        ("why_skipped", "why_failed"),
        "id",
    )
    change_form_outer_before_template = "admin/accounts/bulkact/progress.html"
    actions_detail = ("stop",)
    state_badge = badge_column("state", STATE_COLOURS)

    def get_urls(self) -> list[URLPattern]:
        show = self.admin_site.admin_view(self.progress)
        return [path("<uuid:bulk_act_id>/progress/", show, name="accounts_bulkact_progress"), *super().get_urls()]

    def progress(self, request: HttpRequest, bulk_act_id: UUID) -> HttpResponse:
        bulk_act = get_object_or_404(BulkAct, pk=bulk_act_id)
        if not self.has_view_permission(request, bulk_act):
            raise PermissionDenied
        return JsonResponse({"state": bulk_act.state, "seen": bulk_act.seen, "outcome": bulk_act.outcome})

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        context["progress_address"] = reverse("admin:accounts_bulkact_progress", args=[context["original"].pk])
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="rows")
    def rows(self, obj: BulkAct) -> SafeString:
        return link(list_of(Act, bulk_act__id__exact=obj.pk, part="all"), "what was done, row by row")

    @admin.display(description="skipped")
    def why_skipped(self, obj: BulkAct) -> SafeString | str:
        return _reasons(obj.skipped)

    @admin.display(description="failed")
    def why_failed(self, obj: BulkAct) -> SafeString | str:
        return _reasons(obj.failed)

    @admin.display(description="outcome")
    def outcome(self, obj: BulkAct) -> str:
        return obj.outcome

    @dialog(
        "Stop",
        permission="accounts.change_bulkact",
        icon="stop_circle",
        variant=ActionVariant.DANGER,
        offered=lambda bulk_act: bulk_act.state == BulkAct.State.RUNNING and not bulk_act.stop_asked,
        title="Stop it?",
        text="It ends after the row that it is at. What is done stays done, and the rest is left alone.",
        button="Stop it",
    )
    def stop(self, bulk_act: BulkAct, form: DialogForm) -> Done:
        if not runs.stop(bulk_act):
            raise NotDone(ENDED)
        return Done(record=f"Stopped at {bulk_act.outcome}.", message="It ends after the row that it is at.")


def _reasons(counts: dict[str, int]) -> SafeString | str:
    return format_html_join("", "<div>{}: {}</div>", ((f"{n:,}", why) for why, n in counts.items())) or "none"
