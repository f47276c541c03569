"""The admin pages of prices, accounts and the ledger. They show rows, and move credits by functions of `ledger` alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.db import IntegrityError
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminSplitDateTimeWidget,
)

from accounts.models import Tenant
from accounts.web.admin_base import Page, Record, RecordInline
from accounts.web.admin_columns import badge
from accounts.web.admin_dialogs import ActionVariant, Done, NotDone, dialog
from accounts.web.admin_filters import ByTenant, DropdownFilter, MadeWithin, by_choice
from billing import grants, ledger
from billing.admin_columns import amount
from billing.admin_filters import ByAccountProvider, ByAccountTenant
from billing.admin_forms import AdjustForm, CreditsForm, GrantForm, SettleForm
from billing.alert_admin import ThresholdAlertAdmin
from billing.audit_admin import LedgerAuditAdmin
from billing.cap_admin import KeyCapPage, TenantCapPage
from billing.models import (
    Account,
    Entry,
    Grant,
    Hold,
    KeyCap,
    LedgerAudit,
    Price,
    Statement,
    TenantCap,
    ThresholdAlert,
    Usage,
)
from billing.new_tenant_admin import NewTenantAdmin
from billing.serializers import credits_text
from billing.statement_admin import StatementAdmin
from billing.usage_admin import UsageAdmin
from providers import registry
from providers.admin import ByProvider, BySource, choice_of

KIND_COLOURS = {
    "grant": "success",
    "expiry": "warning",
    "hold": "info",
    "unknown": "danger",
    "charge": "primary",
    "release": "info",
    "adjustment": "warning",
}


SENT_TWICE = "That was sent twice; it counted once."


class PriceForm(forms.ModelForm):
    source = choice_of(registry.ADAPTERS)
    valid_from = forms.SplitDateTimeField(
        required=False,
        widget=UnfoldAdminSplitDateTimeWidget,
        help_text="Empty: from now on. A search keeps the price that it was submitted under.",
    )

    class Meta:
        model = Price
        fields = ("source", "per_call", "per_result", "valid_from")

    def clean_valid_from(self) -> Any:
        now = timezone.now()
        moment = self.cleaned_data["valid_from"] or now
        if moment < now:
            raise forms.ValidationError("A price cannot begin in the past; leave this empty to begin now.")
        return moment


@admin.register(Price)
class PriceAdmin(Page):
    icon = "sell"
    form = PriceForm
    list_display = ("source", "per_call_credits", "per_result_credits", "valid_from")
    list_filter = (BySource,)
    search_fields = ("source",)
    date_hierarchy = "valid_from"
    id_fields = ()

    def get_fields(self, request: HttpRequest, obj: Price | None = None) -> tuple[str, ...]:
        """Shows credits as they are printed everywhere, where they cannot be changed."""
        if self.has_change_permission(request, obj):
            return ("source", "per_call", "per_result", "valid_from")
        return ("source", "per_call_credits", "per_result_credits", "valid_from")

    def get_readonly_fields(self, request: HttpRequest, obj: Price | None = None) -> tuple[str, ...]:
        return ("per_call_credits", "per_result_credits")

    def has_change_permission(self, request: HttpRequest, obj: Price | None = None) -> bool:
        """Allows changes of prices to come. One that has been in force is history; a new one is added beside it."""
        return super().has_change_permission(request, obj) and (obj is None or obj.valid_from > timezone.now())

    def has_delete_permission(self, request: HttpRequest, obj: Price | None = None) -> bool:
        return super().has_delete_permission(request, obj) and self.has_change_permission(request, obj)

    @admin.display(description="a call", ordering="per_call")
    def per_call_credits(self, obj: Price) -> str:
        return amount(obj.per_call)

    @admin.display(description="a result", ordering="per_result")
    def per_result_credits(self, obj: Price) -> str:
        return amount(obj.per_result)


admin.site.register(TenantCap, TenantCapPage)
admin.site.register(KeyCap, KeyCapPage)
admin.site.register(ThresholdAlert, ThresholdAlertAdmin)


class EntryColumns:
    """The columns that show a line of the ledger, in lists and on accounts."""

    @admin.display(description="kind", ordering="kind")
    def kind_badge(self, obj: Entry) -> SafeString:
        return badge(obj.kind, KIND_COLOURS)

    @admin.display(description="amount", ordering="amount")
    def credits(self, obj: Entry) -> str:
        return amount(obj.amount)

    @admin.display(description="posted after")
    def posted_credits(self, obj: Entry) -> str:
        return amount(obj.posted_after)

    @admin.display(description="held after")
    def held_credits(self, obj: Entry) -> str:
        return amount(obj.held_after)

    @admin.display(description="unknown after")
    def unknown_credits(self, obj: Entry) -> str:
        return amount(obj.unknown_after)

    @admin.display(description="for", ordering="reference")
    def purpose(self, obj: Entry) -> str:
        return obj.reference or "-"


BALANCES_AFTER = ("posted_credits", "held_credits", "unknown_credits")


class EntryInline(EntryColumns, RecordInline):
    model = Entry
    fields = ("number", "created_at", "kind_badge", "credits", *BALANCES_AFTER, "purpose", "memo", "person")


class GrantInline(RecordInline):
    model = Grant
    fields = ("number", "amount_credits", "available_credits", "expired_credits", "priority", "expires_at")

    @admin.display(description="granted")
    def amount_credits(self, obj: Grant) -> str:
        return amount(obj.amount)

    @admin.display(description="available")
    def available_credits(self, obj: Grant) -> str:
        return amount(obj.available)

    @admin.display(description="expired")
    def expired_credits(self, obj: Grant) -> str:
        return amount(obj.expired)


@admin.register(Account)
class AccountAdmin(Page):
    icon = "account_balance_wallet"
    list_display = (
        "__str__",
        "kind_badge",
        "posted_credits",
        "held_credits",
        "unknown_credits",
        "available_credits",
        "last_number",
    )
    list_select_related = ("tenant",)
    list_filter = (ByTenant, ByProvider, by_choice("kind"))
    search_fields = ("tenant__name", "provider")
    search_help_text = "A tenant, a provider, or an id"
    autocomplete_fields = ("tenant",)
    add_fieldsets = ((None, {"fields": ("tenant", "provider")}),)
    fieldsets = (
        (None, {"fields": ("tenant", "provider", "kind", "created_at")}),
        ("Credits", {"fields": ("posted_credits", "held_credits", "unknown_credits", "available_credits")}),
    )
    inlines = (GrantInline, EntryInline)
    actions_detail = ("grant", "adjust")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Account]:
        accounts: QuerySet[Account] = super().get_queryset(request)
        return accounts.annotate(**grants.DUE_TO_EXPIRE)

    def has_change_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        """Forbids edits: credits are granted and adjusted, and a grant makes the account prepaid."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Account | None = None) -> bool:
        return False

    def get_inlines(self, request: HttpRequest, obj: Account | None) -> tuple[type[RecordInline], ...]:
        return self.inlines if obj else ()

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "provider":
            return choice_of(registry.PROVIDERS)
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def save_model(self, request: HttpRequest, obj: Account, form: Any, change: bool) -> None:
        obj.pk = ledger.account_of(obj.tenant, obj.provider).pk
        obj.refresh_from_db()

    @admin.display(description="kind", ordering="kind")
    def kind_badge(self, obj: Account) -> SafeString:
        return badge(obj.kind, {"metered": "info", "prepaid": "success"})

    @admin.display(description="posted", ordering="posted")
    def posted_credits(self, obj: Account) -> str:
        return amount(obj.posted)

    @admin.display(description="held", ordering="held")
    def held_credits(self, obj: Account) -> str:
        return amount(obj.held)

    @admin.display(description="unknown", ordering="unknown")
    def unknown_credits(self, obj: Account) -> str:
        return amount(obj.unknown)

    @admin.display(description="available")
    def available_credits(self, obj: Account) -> str:
        return "unbounded" if obj.available is None else amount(obj.available)

    @dialog(
        "Grant credits",
        permission="billing.change_account",
        icon="add_card",
        variant=ActionVariant.PRIMARY,
        title="Grant credits",
        text="In the provider's own credits. The account is prepaid from then on.",
        button="Grant",
        form_class=GrantForm,
    )
    def grant(self, account: Account, form: GrantForm) -> Done:
        chosen = form.cleaned_data
        terms = {
            "expires_at": chosen["expires_at"],
            "priority": Grant.USUAL if chosen["priority"] is None else chosen["priority"],
        }
        return _move(account, form, partial(ledger.grant, **terms), "Granted")

    @dialog(
        "Adjust",
        permission="billing.change_account",
        icon="tune",
        title="Adjust the balance",
        text="Adds to what is posted, or takes from it where the amount is negative. Your name is kept with it.",
        button="Adjust",
        form_class=AdjustForm,
    )
    def adjust(self, account: Account, form: AdjustForm) -> Done:
        return _move(account, form, partial(ledger.adjust, corrects=form.cleaned_data["corrects"]), "Adjusted by")


def _move(account: Account, form: CreditsForm, move: Callable[..., None], verb: str) -> Done:
    amount = form.cleaned_data["amount"]
    try:
        move(
            account,
            amount,
            memo=form.cleaned_data["memo"],
            person=form.request.user.get_username(),
            key=f"operator:{form.cleaned_data['key']}",
        )
    except ValueError as error:
        raise NotDone(str(error)) from None
    except IntegrityError:
        raise NotDone(SENT_TWICE, level=messages.WARNING) from None
    said = f"{verb} {credits_text(amount)} credits."
    return Done(record=said, message=said)


@admin.register(Entry)
class EntryAdmin(EntryColumns, Record):
    icon = "receipt_long"
    list_display = ("created_at", "account", "number", "kind_badge", "credits", "purpose", "memo")
    list_select_related = ("account__tenant",)
    list_filter = (ByAccountTenant, ByAccountProvider, by_choice("kind"), MadeWithin)
    search_fields = ("reference__exact", "key__exact")
    search_help_text = "A reference, or the id of an entry or a lookup"
    fields = (*list_display, *BALANCES_AFTER, "person", "key")

    def matching(self, wanted: UUID) -> Q:
        return Q(pk=wanted) | Q(reference=f"lookup:{wanted}")


class ByUnknown(DropdownFilter):
    title, parameter_name = "outcome", "outcome"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("unknown", "may have been billed")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Hold]) -> QuerySet[Hold]:
        return queryset.filter(unknown__gt=0) if self.value() else queryset


@admin.register(Hold)
class HoldAdmin(Record):
    icon = "lock_clock"
    list_display: tuple[str, ...] = ("reference", "account", "open_credits", "unknown_credits", "created_at")
    list_select_related = ("account__tenant",)
    list_filter = (ByAccountTenant, ByAccountProvider, ByUnknown)
    search_fields = ("reference__exact",)
    search_help_text = "A reference, or the id of a lookup"
    fields = ("purpose", "account", "open_credits", "unknown_credits", "created_at")
    actions_detail = ("settle",)

    def matching(self, wanted: UUID) -> Q:
        return Q(pk=f"lookup:{wanted}")

    @admin.display(description="for")
    def purpose(self, obj: Hold) -> str:
        return obj.reference

    @admin.display(description="open", ordering="open")
    def open_credits(self, obj: Hold) -> str:
        return amount(obj.open)

    @admin.display(description="unknown", ordering="unknown")
    def unknown_credits(self, obj: Hold) -> str:
        return amount(obj.unknown)

    @dialog(
        "Settle the unknown",
        permission="billing.change_hold",
        icon="gavel",
        variant=ActionVariant.WARNING,
        offered=lambda hold: hold.unknown > 0,
        title="Was it billed?",
        text="A call was sent and its outcome is not known. Look it up with the provider.",
        button="Settle",
        form_class=SettleForm,
    )
    def settle(self, hold: Hold, form: SettleForm) -> Done:
        charged = form.cleaned_data["charged"]
        try:
            ledger.settle(
                hold.reference,
                charged=charged,
                seen=form.cleaned_data["seen"],
                key=f"operator:{form.cleaned_data['key']}",
                memo=form.cleaned_data["memo"],
                person=form.request.user.get_username(),
            )
        except ValueError as error:
            raise NotDone(str(error)) from None
        except IntegrityError:
            raise NotDone(SENT_TWICE, level=messages.WARNING) from None
        said = f"Settled: {credits_text(charged)} of {credits_text(hold.unknown)} credits were billed."
        return Done(record=said, message=said, page_of=hold.account)


admin.site.register(Statement, StatementAdmin)
admin.site.register(Usage, UsageAdmin)
admin.site.register(LedgerAudit, LedgerAuditAdmin)
# The tenants' page, with all the parts that a new tenant can begin with.
admin.site.unregister(Tenant)
admin.site.register(Tenant, NewTenantAdmin)
