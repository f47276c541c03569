"""Shows the waits that another weight or limit would give: on a lane's page, and in the forms of policies and tenants."""

from __future__ import annotations

from copy import copy
from datetime import datetime
from typing import Any

from django import forms
from django.db.models import Model
from django.forms import fields_for_model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminTextInputWidget

from accounts import clock
from accounts.models import Tenant
from accounts.web.admin_columns import link, page_of
from providers.models import Policy
from searches.admin.lanes.moments import ahead, span
from searches.lanes import what_if
from searches.lanes.estimates import Proposal
from searches.lanes.what_if import Comparison, Start, TenantWaits
from searches.models import Lane

LIMIT = ("calls", "window_ms", "guard_ms")
HEADERS = ["Tenant", "Weight", "Ready lookups", "First starts", "Then", "Last starts", "Then"]
NO_TENANT = "There is no tenant with this name or id; enter one that waits in this lane."
TEMPLATE = "admin/searches/lane/what_if.html"


class LimitForm(forms.Form):
    """Another limit of a provider. An empty field keeps what is saved."""

    def __init__(self, data: Any, policy: Policy) -> None:
        super().__init__(data)
        self.policy = policy
        for name in LIMIT:
            self.fields[name] = _optional(Policy, name)
            self.fields[name].widget.attrs["placeholder"] = getattr(policy, name)

    def proposal(self) -> Proposal:
        return Proposal(policy=self._policy())

    def _policy(self) -> Policy:
        proposed = copy(self.policy)
        for name in LIMIT:
            if (value := self.cleaned_data[name]) is not None:
                setattr(proposed, name, value)
        return proposed


class WeightForm(forms.Form):
    """Another weight of a tenant. An empty field keeps what is saved."""

    def __init__(self, data: Any, tenant: Tenant) -> None:
        super().__init__(data)
        self.tenant = tenant
        self.fields["weight"] = _optional(Tenant, "weight")

    def proposal(self) -> Proposal:
        weight = self.cleaned_data["weight"]
        return Proposal(weights={self.tenant.pk: self.tenant.weight if weight is None else weight})


class LaneForm(LimitForm):
    """Another limit, and another weight of one tenant."""

    def __init__(self, data: Any, policy: Policy) -> None:
        super().__init__(data, policy)
        widget = UnfoldAdminTextInputWidget(attrs={"placeholder": "A name, or an id"})
        self.fields["tenant"] = forms.CharField(required=False, max_length=200, widget=widget)
        self.fields["weight"] = _optional(Tenant, "weight")

    def clean_tenant(self) -> Tenant | None:
        if not (named := self.cleaned_data["tenant"]):
            return None
        tenant = Tenant.find(named)
        if tenant is None:
            raise forms.ValidationError(NO_TENANT)
        return tenant

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if cleaned.get("weight") is not None and "tenant" in cleaned and cleaned["tenant"] is None:
            self.add_error("tenant", "Name the tenant that would have this weight.")
        return cleaned

    def proposal(self) -> Proposal:
        tenant, weight = self.cleaned_data["tenant"], self.cleaned_data["weight"]
        weights = {tenant.pk: tenant.weight if weight is None else weight} if tenant else {}
        return Proposal(policy=self._policy(), weights=weights)


def _optional(model: type[Model], name: str) -> Any:
    """Returns a number as a column takes it, which may be left out."""
    field: Any = fields_for_model(model, fields=[name])[name]
    field.required, field.initial, field.help_text, field.widget = False, None, "", UnfoldAdminIntegerFieldWidget()
    column: Any = model._meta.get_field(name)
    field.validators = column.validators
    return field


def answer(request: HttpRequest, form: LimitForm | WeightForm, lanes: list[Lane]) -> HttpResponse:
    """Answers the comparison of these lanes under the form's proposal, or the form's errors, as a part of a page."""
    context: dict[str, Any] = {"errors": [], "lanes": []}
    if form.is_valid():
        now, proposal = clock.now(), form.proposal()
        context["lanes"] = [_shown(what_if.compare(lane, proposal), now) for lane in lanes]
    else:
        context["errors"] = [f"{form[name].label}: {error}" for name, errors in form.errors.items() for error in errors]
    return render(request, TEMPLATE, context)


def _shown(comparison: Comparison, now: datetime) -> dict[str, Any]:
    return {
        "lane": link(page_of(comparison.lane), comparison.lane),
        "new_tenant_now": wait_text(comparison.new_tenant_now),
        "new_tenant_then": wait_text(comparison.new_tenant_then),
        "table": {"headers": HEADERS, "rows": [_row(each, now) for each in comparison.tenants]},
    }


def _row(waits: TenantWaits, now: datetime) -> list[Any]:
    tenant, weight = waits.tenant, str(waits.tenant.weight)
    if waits.proposed_weight != tenant.weight:
        weight = f"{weight} → {waits.proposed_weight}"
    later = "" if waits.is_exact else " or later"
    first, last = _texts(waits.first, now), _texts(waits.last, now, later)
    return [link(page_of(tenant), tenant), weight, f"{waits.ready:,}", *first, *last]


def _texts(start: Start, now: datetime, later: str = "") -> list[SafeString]:
    return [
        format_html("{}{}", ahead(moment, now), later) if moment else SafeString("-")
        for moment in (start.now, start.then)
    ]


def wait_text(seconds: float | None) -> str:
    """Returns the wait of a new tenant's first lookup for reading."""
    return "until it is resumed" if seconds is None else f"about {span(seconds)}"
