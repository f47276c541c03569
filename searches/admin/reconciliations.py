"""The admin pages of reconciliations, and the credentials' page with them: providers know nothing of calls and what they cost."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from accounts.ids import first_id_of
from accounts.web.admin_base import Record
from accounts.web.admin_columns import badge, link, list_of
from accounts.web.admin_dialogs import DialogForm, Done, NotDone, dialog
from accounts.web.admin_filters import MadeWithin, by_choice
from billing import reconciliation
from billing.models import Reconciliation
from billing.reconciliation import CannotReconcile
from billing.serializers import credits_text
from providers.admin import ByProvider, CredentialAdmin
from providers.failures import Failure
from providers.models import Credential
from searches.reconciliation import readings

# A key is marked for so long after drift that nothing explained.
MARKED_FOR = timedelta(days=30)
COLOURS = {
    "matches": "success",
    "explained_by_unknown": "info",
    "shared_account": "info",
    "topped_up": "info",
    "counted_less": "info",
    "unexplained": "danger",
}


@admin.register(Reconciliation)
class ReconciliationAdmin(Record):
    icon = "compare_arrows"
    list_display = (
        *(
            "until",
            "tenant",
            "provider",
            "key_label",
            "state_badge",
            "counted_credits",
            "billed_credits",
            "drift_credits",
        ),
    )
    list_select_related = ("tenant", "closing")
    list_filter = (
        ("tenant", AutocompleteSelectFilter),
        ByProvider,
        by_choice("state"),
        MadeWithin,
    )
    search_fields = ("tenant__name", "key_label")
    search_help_text = "A tenant, a credential's label, or the id of a reconciliation or a credential"
    id_fields = ("pk", "credential")
    fields = (
        ("tenant", "provider", "key_label"),
        ("credential", "state_badge"),
        "detail",
        ("opening", "closing"),
        ("counted", "drift"),
        *(("calls", "own_calls"), ("billed", "own_billed"), ("overbilled", "own_overbilled")),
        *(("overlapping", "own_overlapping"), ("unknown", "own_unknown")),
        "topped_up",
    )

    @admin.display(description="state", ordering="state")
    def state_badge(self, obj: Reconciliation) -> SafeString:
        return badge(obj.state, COLOURS)

    @admin.display(description="until")
    def until(self, obj: Reconciliation) -> datetime:
        return obj.closing.answered_at

    @admin.display(description="counted")
    def counted_credits(self, obj: Reconciliation) -> str:
        return credits_text(obj.counted)

    @admin.display(description="billed")
    def billed_credits(self, obj: Reconciliation) -> str:
        return credits_text(obj.billed)

    @admin.display(description="drift")
    def drift_credits(self, obj: Reconciliation) -> str:
        return credits_text(obj.drift)

    @admin.display(description="what was found")
    def detail(self, obj: Reconciliation) -> str:
        return reconciliation.detail(obj)


class ReconciledCredentialAdmin(CredentialAdmin):
    """The credentials' page, with what their providers counted."""

    actions_detail = (*CredentialAdmin.actions_detail, "reconcile")

    def get_fields(self, request: HttpRequest, obj: Credential | None = None) -> tuple[str, ...]:
        fields = super().get_fields(request, obj)
        return (*fields, "last_reconciliation") if obj else fields

    @admin.display(description="last reconciliation")
    def last_reconciliation(self, obj: Credential) -> SafeString:
        """Shows the last comparison, and marks a key with drift that nothing explained, until it is a month old."""
        row = Reconciliation.objects.filter(credential=obj).select_related("closing").first()
        if row is None:
            return SafeString("-")
        rows = Reconciliation.objects.filter(credential=obj, state=Reconciliation.State.UNEXPLAINED)
        marked = rows.filter(pk__gte=first_id_of(timezone.now() - MARKED_FOR)).count()
        mark = badge("unexplained", COLOURS, f"{marked} unexplained in 30 days") if marked else ""
        everything = link(list_of(Reconciliation, credential__id__exact=obj.pk), "all of this key")
        return format_html("{} {} {} {}", badge(row.state, COLOURS), reconciliation.detail(row), mark, everything)

    @dialog(
        "Reconcile",
        permission="providers.change_credential",
        icon="compare_arrows",
        asks_outside=True,
        offered=lambda credential: not readings.cannot(credential),
        title="Reconcile it now?",
        text="The provider is asked, at no cost, for the credits that the key has left. Its count since the last reading "
        "is compared with the calls that were made.",
        button="Reconcile",
    )
    def reconcile(self, credential: Credential, form: DialogForm) -> Done:
        try:
            reading = readings.reconcile(credential)
        except (CannotReconcile, Failure) as error:
            raise NotDone(str(error)) from None
        row = Reconciliation.objects.filter(closing=reading).first()
        if row is None:
            return Done(record="Read, and compared with nothing.", message=reconciliation.uncompared(reading))
        warning = row.state == Reconciliation.State.UNEXPLAINED
        return Done(record=f"Reconciled: {row.state}.", message=reconciliation.detail(row), warning=warning)


admin.site.unregister(Credential)
admin.site.register(Credential, ReconciledCredentialAdmin)
