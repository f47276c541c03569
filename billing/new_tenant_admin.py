"""The form for a new tenant with all its parts, and the page that shows the secrets that it made, once.

It is here because it needs what accounts, providers and billing own. `accounts` has the page of a tenant that exists.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar

from django import forms
from django.contrib.admin.options import IS_POPUP_VAR
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.views.decorators.debug import sensitive_post_parameters
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminPasswordWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextInputWidget,
    UnfoldBooleanSwitchWidget,
)

from accounts import acts, limits
from accounts.admin.tenants import TenantAdmin, TenantForm
from accounts.models import Mode, Tenant
from accounts.web.admin_columns import page_of
from billing import corrections, new_tenants
from billing.new_tenants import NewTenant, ProviderTerms, TenantPlan
from providers import registry
from providers.keyring import verification
from providers.models import Credential

# The permission that each part of the form needs, beside that to add tenants.
PERMISSIONS = {
    "api_keys": "accounts.add_apikey",
    "credentials": "providers.add_credential",
    "caps": "billing.add_tenantcap",
    "grants": "billing.change_account",
    "endpoint": "accounts.add_endpoint",
}
LEAST_GRANT = Decimal("0.000001")
MADE = "admin/accounts/tenant/made.html"


class NewTenantForm(TenantForm):
    """A tenant's own columns. `_form_class` adds the fields of the parts that an operator may make."""

    person: ClassVar[str]
    plan: TenantPlan
    made: NewTenant

    def full_clean(self) -> None:
        """Makes the tenant as the last step of validation, so that a refusal by the owner of a part is an error of its field.

        The page's transaction is open. Whatever fails in it later takes the tenant along.
        """
        super().full_clean()
        if self.is_bound and not self.errors:
            self.plan = self._plan()
            try:
                self.made = new_tenants.create(self.plan)
            except new_tenants.PartRefused as refused:
                self.add_error(refused.field, str(refused))

    def _plan(self) -> TenantPlan:
        entered = self.cleaned_data.get
        return TenantPlan(
            tenant=self.instance,
            person=self.person,
            modes=[mode for mode in Mode if entered(f"{mode}_key")],
            providers={provider: self._terms(provider) for provider in registry.PROVIDERS},
            memo=entered("memo") or "",
            endpoint_url=entered("endpoint_url") or "",
            endpoint_mode=entered("endpoint_mode") or Mode.LIVE,
        )

    def _terms(self, provider: str) -> ProviderTerms:
        entered = self.cleaned_data.get
        secret, cap, grant = (entered(f"{provider}_{part}") for part in ("key", "cap", "grant"))
        return ProviderTerms(secret=secret or "", cap=cap, grant=grant)


def _form_class(may: Callable[[str], bool], person: str) -> type[NewTenantForm]:
    """Returns the form with the fields of the parts that an operator may make."""
    fields: dict[str, Any] = {}
    if may("api_keys"):
        fields |= {f"{mode}_key": _switch(mode) for mode in Mode}
    for provider in registry.PROVIDERS:
        if may("credentials"):
            fields[f"{provider}_key"] = _secret()
        if may("caps"):
            fields[f"{provider}_cap"] = _credits("Cap", Decimal(0), "Credits a UTC month. Empty: no cap. 0: nothing.")
        if may("grants"):
            fields[f"{provider}_grant"] = _credits(
                "First grant", LEAST_GRANT, "Credits. Empty: none, and unbounded use."
            )
    if may("grants"):
        fields["memo"] = forms.CharField(
            max_length=corrections.LONGEST_MEMO,
            required=False,
            initial="First grant",
            widget=UnfoldAdminTextInputWidget,
            help_text="Of the first grants, for readers of the ledger.",
        )
    if may("endpoint"):
        fields |= _endpoint_fields()
    return type(
        "NewTenantForm", (NewTenantForm,), fields | {"suspended": None, "person": person, "__module__": __name__}
    )


def _switch(mode: Mode) -> forms.BooleanField:
    return forms.BooleanField(
        label=f"A {mode} key",
        required=False,
        initial=True,
        widget=UnfoldBooleanSwitchWidget,
        help_text="With every right. It is shown once, when the tenant is made.",
    )


def _secret() -> forms.CharField:
    return forms.CharField(
        label="Provider key",
        max_length=4096,
        required=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="The tenant's own key to the provider. It is sealed at once and cannot be shown again.",
    )


def _credits(label: str, least: Decimal, help_text: str) -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        max_digits=18,
        decimal_places=6,
        min_value=least,
        required=False,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text=help_text,
    )


def _endpoint_fields() -> dict[str, forms.Field]:
    return {
        "endpoint_url": forms.CharField(
            label="URL",
            max_length=2048,
            required=False,
            widget=UnfoldAdminTextInputWidget,
            help_text="Where all its events are sent. Its signing secret is shown once. Empty: no endpoint.",
        ),
        "endpoint_mode": forms.ChoiceField(
            label="Mode",
            choices=Mode.choices,
            required=False,
            widget=UnfoldAdminSelectWidget,
            help_text="The keys whose searches it is told of.",
        ),
    }


class NewTenantAdmin(TenantAdmin):
    """The tenants' page, whose empty form makes a tenant with all its parts."""

    def get_form(self, request: HttpRequest, obj: Tenant | None = None, change: bool = False, **kwargs: Any) -> Any:
        if obj is None and not change:
            kwargs["form"] = _form_class(partial(_may, request), request.user.get_username())
        return super().get_form(request, obj, change, **kwargs)

    def get_fieldsets(self, request: HttpRequest, obj: Tenant | None = None) -> Any:
        return super().get_fieldsets(request, obj) if obj else _fieldsets(partial(_may, request))

    @method_decorator(sensitive_post_parameters())
    def changeform_view(self, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().changeform_view(*args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        if change:
            return super().save_model(request, obj, form, change)
        obj.plan, obj.made = form.plan, form.made
        for credential in obj.made.credentials:
            # The key is stored, whatever the provider answers. No transaction is open while it is asked.
            transaction.on_commit(partial(verification.check, credential), robust=True)
        return None

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Puts all parts on record, without their secrets, as one act. The memo of the grants is its reason."""
        plan: TenantPlan = obj.plan
        reason = plan.memo if any(terms.grant for terms in plan.providers.values()) else ""
        return acts.record(acts.by_request(request), acts.ADD, obj, reason=reason, detail=plan.described())

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: str | None = None) -> HttpResponse:
        """Shows the secrets on a page, not in a message: a cookie keeps messages until they are read. No cache may keep the page,
        so that the browser's back button does not show it again.
        """
        made: NewTenant = obj.made
        if IS_POPUP_VAR in request.POST or not (made.api_keys or made.credentials or made.endpoint):
            return super().response_add(request, obj, post_url_continue)
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": f"{obj} is set up",
            "made": made,
            "credentials": partial(_checked, made.credentials),
            "address": page_of(obj),
        }
        return TemplateResponse(request, MADE, context, headers={"Cache-Control": "no-store"})


def _may(request: HttpRequest, part: str) -> bool:
    return request.user.has_perm(PERMISSIONS[part])


def _fieldsets(may: Callable[[str], bool]) -> list[Any]:
    parts: list[tuple[str | None, list[Any]]] = [(None, ["name", "weight", "max_age"])]
    if may("api_keys"):
        parts.append(("API keys", [tuple(f"{mode}_key" for mode in Mode)]))
    at_provider = [part for part, kind in (("key", "credentials"), ("cap", "caps"), ("grant", "grants")) if may(kind)]
    parts += [(name, [f"{name}_{part}" for part in at_provider]) for name in registry.PROVIDERS if at_provider]
    if may("grants"):
        parts.append(("First grants", ["memo"]))
    if may("endpoint"):
        parts.append(("Webhook endpoint", [("endpoint_url", "endpoint_mode")]))
    parts += [("Retention", [*limits.RETENTION]), ("Limits", [*limits.RATES, *limits.COUNTS])]
    return [(title, {"fields": fields}) for title, fields in parts]


def _checked(stored: list[Credential]) -> list[Credential]:
    """Returns the credentials as they are after the providers were asked: the page is written when the transaction is over."""
    return list(Credential.objects.filter(pk__in=[each.pk for each in stored]).order_by("provider"))
