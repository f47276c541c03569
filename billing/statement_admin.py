"""The admin pages of closed months, and one that prints well."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import URLPattern, path, reverse
from django.utils.safestring import SafeString

from accounts.web.admin_base import Record
from accounts.web.admin_columns import link
from billing import statement_chart
from billing.admin_filters import ByAccountProvider, ByAccountTenant
from billing.models import Statement
from billing.serializers import credits_text

# The columns of the printed table, in the order of a month: what adds to what is posted, what takes from it, and the rest.
KINDS = ("grant", "expiry", "adjustment", "charge", "hold", "release", "unknown")
BALANCES = ("posted", "held", "unknown")


class StatementAdmin(Record):
    icon = "description"
    # Newest first; the months of one account adjoin.
    ordering = ("-pk",)
    list_display = (
        "month_text",
        "account",
        "numbers",
        "opening_credits",
        "charged_credits",
        "closing_credits",
        "printed",
    )
    list_select_related = ("account__tenant",)
    list_filter = (ByAccountTenant, ByAccountProvider)
    search_fields = ("account__tenant__name",)
    search_help_text = "A tenant, or an id"
    fields = (
        *("account", "month_text", "numbers", "opening_credits", "by_kind", "closing_credits", "held_credits"),
        *("closed_at", "last_entry_sha256", "previous_sha256", "sha256", "printed"),
    )

    def get_urls(self) -> list[URLPattern]:
        show = self.admin_site.admin_view(self.show)
        return [path("<uuid:statement_id>/print/", show, name="billing_statement_print"), *super().get_urls()]

    def show(self, request: HttpRequest, statement_id: UUID) -> HttpResponse:
        """Answers a page of its own, without the admin's frame, that prints as it is shown."""
        statement = get_object_or_404(Statement.objects.select_related("account__tenant"), pk=statement_id)
        if not self.has_view_permission(request, statement):
            raise PermissionDenied
        return render(request, "admin/billing/statement/print.html", _page(statement))

    @admin.display(description="month", ordering="month")
    def month_text(self, obj: Statement) -> str:
        return f"{obj.month:%Y-%m}"

    @admin.display(description="entries")
    def numbers(self, obj: Statement) -> str:
        return _numbers(obj)

    @admin.display(description="posted at the beginning")
    def opening_credits(self, obj: Statement) -> str:
        return credits_text(obj.opening_posted)

    @admin.display(description="charged")
    def charged_credits(self, obj: Statement) -> str:
        return credits_text(obj.charges)

    @admin.display(description="posted at the end")
    def closing_credits(self, obj: Statement) -> str:
        return credits_text(obj.closing_posted)

    @admin.display(description="held at the end")
    def held_credits(self, obj: Statement) -> str:
        return f"{credits_text(obj.closing_held)}, {credits_text(obj.closing_unknown)} of it unknown"

    @admin.display(description="by kind")
    def by_kind(self, obj: Statement) -> str:
        return ", ".join(f"{kind} {amount}" for kind, amount in _kinds(obj) if amount != "0") or "nothing moved"

    @admin.display(description="hash of the last entry")
    def last_entry_sha256(self, obj: Statement) -> str:
        return _hex(obj.last_entry_hash)

    @admin.display(description="hash of the statement before")
    def previous_sha256(self, obj: Statement) -> str:
        return _hex(obj.previous_hash)

    @admin.display(description="hash")
    def sha256(self, obj: Statement) -> str:
        return _hex(obj.hash)

    @admin.display(description="print")
    def printed(self, obj: Statement) -> SafeString:
        return link(reverse("admin:billing_statement_print", args=[obj.pk]), "Page to print")


def _page(statement: Statement) -> dict[str, Any]:
    """Returns what the printed page shows."""
    return {
        "statement": statement,
        "numbers": _numbers(statement),
        "balances": [
            (name, *(credits_text(getattr(statement, f"{end}_{name}")) for end in ("opening", "closing")))
            for name in BALANCES
        ],
        "kinds": _kinds(statement),
        "hashes": [
            ("Last entry", _hex(statement.last_entry_hash)),
            ("Statement before", _hex(statement.previous_hash)),
            ("This statement", _hex(statement.hash)),
        ],
        "chart": statement_chart.of(statement),
    }


def _kinds(statement: Statement) -> list[tuple[str, str]]:
    return [(kind, credits_text(getattr(statement, Statement.SUMS[kind]))) for kind in KINDS]


def _numbers(statement: Statement) -> str:
    if statement.last_number < statement.first_number:
        return "none"
    return f"{statement.first_number} to {statement.last_number}"


def _hex(value: bytes | memoryview) -> str:
    return bytes(value).hex() or "-"
