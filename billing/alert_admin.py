"""The admin page of the shares of caps and grants that were reached. They are read and never changed."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import OuterRef, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.safestring import SafeString

from accounts.models import ApiKey
from accounts.web.admin_base import Record
from accounts.web.admin_columns import badge
from accounts.web.admin_filters import MadeWithin, by_choice
from billing.admin_columns import amount
from billing.admin_filters import ByAccountProvider, ByAccountTenant
from billing.models import ThresholdAlert

SHARE_COLOURS = {"50 %": "info", "80 %": "warning", "100 %": "danger"}


class ThresholdAlertAdmin(Record):
    icon = "notifications"
    list_display = ("created_at", "account", "limit", "key_prefix", "share_badge", "used_credits", "size_credits")
    list_select_related = ("account__tenant",)
    list_filter = (ByAccountTenant, ByAccountProvider, by_choice("limit"), MadeWithin)
    search_fields = ("account__tenant__name",)
    search_help_text = "A tenant, or the id of an alert or an API key"
    id_fields = ("pk", "spender")
    fields = (*list_display, "held_credits", "grant_number", "period_start")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ThresholdAlert]:
        prefixes = ApiKey.objects.filter(pk=OuterRef("spender")).values("prefix")
        found: QuerySet[ThresholdAlert] = super().get_queryset(request).annotate(prefix=Subquery(prefixes))
        return found

    @admin.display(description="API key")
    def key_prefix(self, obj: ThresholdAlert) -> str:
        prefix = getattr(obj, "prefix", None)
        return f"{prefix}…" if prefix else "-"

    @admin.display(description="share", ordering="share")
    def share_badge(self, obj: ThresholdAlert) -> SafeString:
        return badge(f"{obj.share} %", SHARE_COLOURS)

    @admin.display(description="used")
    def used_credits(self, obj: ThresholdAlert) -> str:
        return amount(obj.used)

    @admin.display(description="of")
    def size_credits(self, obj: ThresholdAlert) -> str:
        return amount(obj.size)

    @admin.display(description="held")
    def held_credits(self, obj: ThresholdAlert) -> str:
        return amount(obj.held)
