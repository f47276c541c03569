"""The admin page of usage: what each day's charges were for, as `GET /v1/usage` adds it up. Rows are read and never changed."""

from __future__ import annotations

from django.contrib import admin

from accounts.web.admin_base import Record
from billing.admin_columns import amount
from billing.admin_filters import ByAccountProvider, ByAccountTenant
from billing.models import Usage


class UsageAdmin(Record):
    icon = "bar_chart"
    list_display = ("day", "account", "source", "api_key", "charged_credits", "charges")
    list_select_related = ("account__tenant",)
    list_filter = (ByAccountTenant, ByAccountProvider)
    search_fields = ("account__tenant__name", "source__exact")
    search_help_text = "A tenant, a source, or the id of an API key"
    id_fields = ("api_key",)
    fields = list_display

    @admin.display(description="charged")
    def charged_credits(self, obj: Usage) -> str:
        return amount(obj.charged)
