"""The admin pages of caps. Their history keeps who raised or lowered one, and from what to what."""

from __future__ import annotations

from typing import Any, ClassVar

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from accounts.models import Mode
from accounts.web.admin_base import Page
from accounts.web.admin_filters import ByTenant
from billing import alerts, ledger
from billing.models import KeyCap, TenantCap
from billing.serializers import credits_text
from providers import registry
from providers.admin import ByProvider, choice_of

A_TEST_KEY = "A test key's searches cost nothing, so it has no cap; choose a live key."


class CapPage(Page):
    """Caps of one kind. `owner` is the field that says whose they are, which no change of a cap alters."""

    icon = "speed"
    owner: ClassVar[str]
    id_fields = ()

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        return (self.owner, "provider") if obj else ()

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "provider":
            return choice_of(registry.PROVIDERS)
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    @admin.display(description="credits a month", ordering="amount")
    def credits(self, obj: TenantCap | KeyCap) -> str:
        return credits_text(obj.amount)


class TenantCapPage(CapPage):
    owner = "tenant"
    list_display = ("tenant", "provider", "credits")
    list_select_related = ("tenant",)
    list_filter = (ByTenant, ByProvider)
    search_fields = ("tenant__name", "provider")
    search_help_text = "A tenant, or a provider"
    autocomplete_fields = ("tenant",)
    fields = ("tenant", "provider", "amount")

    def save_model(self, request: HttpRequest, obj: TenantCap, form: Any, change: bool) -> None:
        """Makes the account too, with which the tenant sees the cap, and announces the shares that are reached already."""
        super().save_model(request, obj, form, change)
        alerts.cap_changed(ledger.account_of(obj.tenant, obj.provider))


class KeyCapForm(forms.ModelForm):
    class Meta:
        model = KeyCap
        fields = ("api_key", "provider", "amount")

    def clean_api_key(self) -> Any:
        if (key := self.cleaned_data["api_key"]).mode != Mode.LIVE:
            raise forms.ValidationError(A_TEST_KEY)
        return key


class KeyCapPage(CapPage):
    owner = "api_key"
    form = KeyCapForm
    list_display = ("api_key", "tenant", "provider", "credits")
    list_select_related = ("api_key__tenant",)
    list_filter = (("api_key__tenant", AutocompleteSelectFilter), ByProvider)
    search_fields = ("api_key__tenant__name", "api_key__label", "api_key__prefix__startswith")
    search_help_text = "A tenant, a key's label, or how a key begins"
    autocomplete_fields = ("api_key",)
    fields = ("api_key", "provider", "amount")

    def save_model(self, request: HttpRequest, obj: KeyCap, form: Any, change: bool) -> None:
        """Makes the account too, with which the tenant sees the cap, and announces the shares that are reached already."""
        super().save_model(request, obj, form, change)
        alerts.cap_changed(ledger.account_of(obj.api_key.tenant, obj.provider), obj.api_key_id)

    @admin.display(description="tenant", ordering="api_key__tenant")
    def tenant(self, obj: KeyCap) -> str:
        return str(obj.api_key.tenant)
