"""The pages of tenants."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from accounts import limits, suspension
from accounts.models import ApiKey, Tenant
from accounts.web.admin_base import Page, RecordInline
from accounts.web.admin_columns import badge, link, list_of, page_of
from accounts.web.admin_dialogs import ActionVariant, DialogForm, Done, action, dialog
from accounts.web.admin_filters import ByCondition

MODE_COLOURS = {"live": "success", "test": "info"}
STATE_COLOURS = {"active": "success", "suspended": "danger"}


class TenantForm(forms.ModelForm):
    class Meta:
        model = Tenant
        fields = ("name", "weight", "max_age", *limits.RETENTION, *limits.RATES, *limits.COUNTS)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The form of an operator who may only view the tenant has no fields.
        for name in self.fields.keys() & {*limits.RETENTION, *limits.RATES, *limits.COUNTS}:
            # Shows the default, which an empty field means.
            self.fields[name].widget.attrs["placeholder"] = limits.default(name)


class BySuspension(ByCondition):
    title, parameter_name = "state", "state"
    conditions = {"active": Q(suspended_at=None), "suspended": ~Q(suspended_at=None)}


class ApiKeyInline(RecordInline):
    model = ApiKey
    fields = ("begins", "label", "mode", "created_at", "last_used_at", "expires_at", "revoked_at")

    @admin.display(description="key")
    def begins(self, obj: ApiKey) -> SafeString:
        return link(page_of(obj), obj)


@admin.register(Tenant)
class TenantAdmin(Page):
    icon = "apartment"
    form = TenantForm
    list_display = ("name", "weight", "state", "created_at")
    list_filter = (BySuspension,)
    search_fields = ("name",)
    search_help_text = "A name, or an id"
    date_hierarchy = "created_at"
    inlines = (ApiKeyInline,)
    actions_detail = ("issue_key", "suspend", "lift")
    readonly_fields = ("id", "created_at", "suspended_at", "rows")
    fieldsets = (
        (None, {"fields": ("name", "weight", "max_age")}),
        ("Retention", {"fields": limits.RETENTION}),
        ("Limits", {"fields": (*limits.RATES, *limits.COUNTS)}),
        ("On record", {"fields": ("id", "created_at", "suspended_at", "rows")}),
    )
    add_fieldsets = fieldsets[:3]

    def get_inlines(self, request: HttpRequest, obj: Tenant | None) -> tuple[type[ApiKeyInline], ...]:
        return self.inlines if obj else ()

    def has_delete_permission(self, request: HttpRequest, obj: Tenant | None = None) -> bool:
        """Refuses: the ledger must outlive the tenant. A tenant that leaves is suspended."""
        return False

    def save_model(self, request: HttpRequest, obj: Tenant, form: Any, change: bool) -> None:
        if change:
            # The other columns may have changed since the form read them.
            obj.save(update_fields=form.changed_data)
            return
        super().save_model(request, obj, form, change)

    @admin.display(description="state", ordering="suspended_at")
    def state(self, obj: Tenant) -> SafeString:
        return badge("suspended" if obj.suspended_at else "active", STATE_COLOURS)

    @admin.display(description="its rows")
    def rows(self, obj: Tenant) -> SafeString:
        """Returns links to every list that can be narrowed to this tenant, of any app."""
        models = [r.related_model for r in Tenant._meta.related_objects if r.related_model in admin.site._registry]
        links = (link(list_of(m, tenant__id__exact=obj.pk), m._meta.verbose_name_plural) for m in models)
        return format_html_join(" · ", "{}", ((each,) for each in links))

    @dialog(
        "Suspend",
        permission="accounts.change_tenant",
        icon="block",
        needs_reason=True,
        variant=ActionVariant.DANGER,
        offered=lambda tenant: tenant.suspended_at is None,
        title="Suspend this tenant?",
        text="Its API keys are refused, and its waiting lookups and deliveries are held back, until the suspension is lifted. "
        "Calls that were sent are finished.",
        button="Suspend the tenant",
    )
    def suspend(self, tenant: Tenant, form: DialogForm) -> Done:
        suspension.suspend(tenant)
        return Done(record="Suspended.", message=f"{tenant} is suspended.")

    @dialog(
        "Lift the suspension",
        permission="accounts.change_tenant",
        icon="check_circle",
        offered=lambda tenant: tenant.suspended_at is not None,
        title="Lift the suspension?",
        text="Its API keys are taken again, and its lookups and deliveries go on.",
        button="Lift it",
    )
    def lift(self, tenant: Tenant, form: DialogForm) -> Done:
        suspension.lift(tenant)
        return Done(record="Lifted the suspension.", message=f"{tenant} is no longer suspended.")

    def has_issue_key_permission(self, request: HttpRequest, object_id: str) -> bool:
        return request.user.has_perm("accounts.add_apikey")

    @action(description="Issue an API key", permissions=["issue_key"], icon="key")
    def issue_key(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return redirect(f"{reverse('admin:accounts_apikey_add')}?{urlencode({'tenant': object_id})}")
