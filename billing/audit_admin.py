"""The pages of the ledger's daily audits."""

from __future__ import annotations

from django.contrib import admin
from django.db.models import Q
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from accounts.web.admin_base import Record
from accounts.web.admin_columns import badge
from accounts.web.admin_filters import ByCondition, MadeWithin
from billing.models import LedgerAudit

COLOURS = {"passed": "success", "failed": "danger", "not finished": "warning"}


class ByOutcome(ByCondition):
    title, parameter_name = "outcome", "outcome"
    conditions = {
        "passed": Q(finished_at__isnull=False, differences=0),
        "failed": Q(differences__gt=0),
        "not finished": Q(finished_at=None),
    }


class LedgerAuditAdmin(Record):
    icon = "fact_check"
    list_display = ("day", "outcome_badge", "differences", "entries", "started_at", "finished_at")
    list_filter = (ByOutcome, MadeWithin)
    search_fields = ("sentences",)
    search_help_text = "A word of a difference, or the id of an audit"
    fields = (("day", "outcome_badge"), ("entries", "differences"), "named", ("started_at", "finished_at"))

    @admin.display(description="outcome")
    def outcome_badge(self, obj: LedgerAudit) -> SafeString:
        return badge(obj.outcome, COLOURS)

    @admin.display(description="differences")
    def named(self, obj: LedgerAudit) -> SafeString | str:
        """Returns a line for each difference that was kept."""
        lines = format_html_join("", "<p>{}</p>", ((sentence,) for sentence in obj.sentences))
        return lines or "Every balance follows from the entries."
