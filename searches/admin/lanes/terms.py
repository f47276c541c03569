"""The pages of policies and tenants with the waits that a change of them would give, shown before it is saved.

Providers and accounts know nothing of lanes. Their pages are registered here once more, with the part that does.
"""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, reverse

from accounts.models import Tenant
from accounts.web.admin_base import Page
from billing.new_tenant_admin import NewTenantAdmin
from providers.admin import PolicyAdmin
from providers.models import Policy
from searches.admin.lanes import what_if
from searches.lanes.what_if import busiest_lanes
from searches.models import Lane, Lookup


def may_compare(page: Page, request: HttpRequest) -> bool:
    """Returns whether an operator may see lanes with their lookups, of which a comparison tells."""
    pages = page.admin_site._registry
    return all(pages[model].has_view_permission(request) for model in (Lane, Lookup))


class ComparedPage(Page):
    """A page whose form shows the waits under what is entered. `compared`: the fields that change waits."""

    compared: ClassVar[tuple[str, ...]]
    # Above the fields: below them, an operator would save before it is seen.
    change_form_before_template = "admin/searches/lane/compared_form.html"

    class Media:
        css: ClassVar[dict[str, list[str]]] = {"all": ["sightline/lanes.css"]}

    def get_urls(self) -> list[URLPattern]:
        show = self.admin_site.admin_view(self.compare)
        return [path("<path:object_id>/what_if/", show, name=self._name), *super().get_urls()]

    @property
    def _name(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_what_if"

    def compare(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Answers the waits under the values in the address, as a part of the form's page."""
        row = self.row(request, object_id)
        if not self._may_compare(request, row):
            raise PermissionDenied
        return self.answer(request, row)

    def answer(self, request: HttpRequest, row: Any) -> HttpResponse:
        """Shows the waits of the row under the values in the address. Each page defines it."""
        raise NotImplementedError

    def _may_compare(self, request: HttpRequest, row: Any) -> bool:
        return self.has_change_permission(request, row) and may_compare(self, request)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        row = context.get("original")
        if row is not None and self._may_compare(request, row):
            context["what_if"] = reverse(f"admin:{self._name}", args=[row.pk])
            context["compared"] = ", ".join(f"#id_{name}" for name in self.compared)
        return super().render_change_form(request, context, *args, **kwargs)


class ComparedPolicyAdmin(ComparedPage, PolicyAdmin):
    """The policies' page, with the waits in the provider's busiest lanes."""

    compared = what_if.LIMIT

    def answer(self, request: HttpRequest, row: Policy) -> HttpResponse:
        return what_if.answer(request, what_if.LimitForm(request.GET, row), busiest_lanes(policy=row))


class ComparedTenantAdmin(ComparedPage, NewTenantAdmin):
    """The tenants' page, with the waits in the lanes in which the tenant has the most ready lookups."""

    compared = ("weight",)

    def answer(self, request: HttpRequest, row: Tenant) -> HttpResponse:
        return what_if.answer(request, what_if.WeightForm(request.GET, row), busiest_lanes(tenant=row))


for model, page in ((Policy, ComparedPolicyAdmin), (Tenant, ComparedTenantAdmin)):
    admin.site.unregister(model)
    admin.site.register(model, page)
