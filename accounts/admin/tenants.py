"""The pages of tenants and API keys. A key's secret is shown once, by the answer that issues it."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldBooleanSwitchWidget

from accounts import keys, limits
from accounts.models import ApiKey, Tenant
from accounts.web.admin_base import Page, RecordInline, locked
from accounts.web.admin_columns import badge, badge_column, link, list_of, page_of
from accounts.web.admin_dialogs import ActionVariant, DialogForm, Done, action, dialog
from accounts.web.admin_filters import ByCondition, ByTenant, by_choice

MODE_COLOURS = {"live": "success", "test": "info"}
STATE_COLOURS = {"active": "success", "valid": "success", "suspended": "danger", "revoked": "danger"}


class TenantForm(forms.ModelForm):
    suspended = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Its API keys are refused and its waiting lookups are held back, until this is lifted.",
    )

    class Meta:
        model = Tenant
        fields = ("name", "weight", "max_age", *limits.RETENTION, *limits.RATES, *limits.COUNTS)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The form of an operator who may only view the tenant has no fields.
        for name in self.fields.keys() & {*limits.RETENTION, *limits.RATES, *limits.COUNTS}:
            # Shows the default, which an empty field means.
            self.fields[name].widget.attrs["placeholder"] = limits.default(name)
        self.initial["suspended"] = self.instance.suspended_at is not None


class BySuspension(ByCondition):
    title, parameter_name = "state", "state"
    conditions = {"active": Q(suspended_at=None), "suspended": ~Q(suspended_at=None)}


class ByRevocation(ByCondition):
    title, parameter_name = "state", "state"
    conditions = {"valid": Q(revoked_at=None), "revoked": ~Q(revoked_at=None)}


class ApiKeyInline(RecordInline):
    model = ApiKey
    fields = ("begins", "label", "mode", "created_at", "last_used_at", "revoked_at")

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
    actions_detail = ("issue_key",)
    readonly_fields = ("id", "created_at", "suspended_at", "rows")
    fieldsets = (
        (None, {"fields": ("name", "weight", "max_age", "suspended")}),
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
        if form.cleaned_data["suspended"] != (obj.suspended_at is not None):
            obj.suspended_at = timezone.now() if form.cleaned_data["suspended"] else None
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

    def has_issue_key_permission(self, request: HttpRequest, object_id: str) -> bool:
        return request.user.has_perm("accounts.add_apikey")

    @action(description="Issue an API key", permissions=["issue_key"], icon="key")
    def issue_key(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return redirect(f"{reverse('admin:accounts_apikey_add')}?{urlencode({'tenant': object_id})}")


class ApiKeyForm(forms.ModelForm):
    class Meta:
        model = ApiKey
        fields = ("tenant", "label", "mode")

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.instance._state.adding and "tenant" in cleaned:
            try:
                keys.check_room(locked(cleaned["tenant"].pk))
            except keys.TooManyApiKeys as error:
                raise forms.ValidationError(str(error)) from None
        return cleaned


@admin.register(ApiKey)
class ApiKeyAdmin(Page):
    icon = "key"
    form = ApiKeyForm
    list_display = ("__str__", "tenant", "label", "mode_badge", "state", "last_used_at", "created_at")
    list_select_related = ("tenant",)
    list_filter = (ByTenant, by_choice("mode"), ByRevocation)
    search_fields = ("tenant__name", "label", "prefix__startswith")
    search_help_text = "A tenant, a label, how the key begins, or an id"
    ordering = ("-id",)
    secret_fields = ("digest",)
    autocomplete_fields = ("tenant",)
    fields = ("tenant", "label", "mode")
    actions_detail = ("revoke",)
    mode_badge = badge_column("mode", MODE_COLOURS)

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Refuses: searches refer to the key. A key that must go is revoked."""
        return False

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        on_record = ("id", "prefix", "created_at", "last_used_at", "revoked_at")
        return (*self.fields, *on_record) if obj else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return tuple(f for f in self.get_fields(request, obj) if f != "label") if obj else ()

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            super().save_model(request, obj, form, change)
            return
        key, secret = keys.issue(obj.tenant, obj.mode, obj.label)
        obj.pk = key.pk
        obj.refresh_from_db()
        obj.secret = secret

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """Shows the secret on a page, not in a message: a cookie keeps messages until they are read."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "The new API key",
            "key": obj,
            "address": page_of(obj),
        }
        return TemplateResponse(request, "admin/accounts/apikey/issued.html", context)

    @admin.display(description="state", ordering="revoked_at")
    def state(self, obj: ApiKey) -> SafeString:
        return badge("revoked" if obj.revoked_at else "valid", STATE_COLOURS)

    @dialog(
        "Revoke",
        permission="accounts.change_apikey",
        icon="key_off",
        variant=ActionVariant.DANGER,
        offered=lambda key: key.revoked_at is None,
        title="Revoke this API key?",
        text="Requests with it are refused from now on. It cannot be made valid again.",
        button="Revoke",
    )
    def revoke(self, key: ApiKey, form: DialogForm) -> Done:
        keys.revoke(key)
        return Done(record="Revoked.", message=f"{key} is revoked.")
