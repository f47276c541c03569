"""The page of the log of acts: who did what, when, why, and from which address. It is read and never changed."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.apps import apps
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from accounts import acts
from accounts.models import Act
from accounts.web.admin_base import Record
from accounts.web.admin_columns import badge, link
from accounts.web.admin_filters import ByTenant, DropdownFilter, MadeWithin

KIND_COLOURS = {acts.ADD: "success", acts.CHANGE: "info", acts.DELETE: "danger"}


class ByPart(DropdownFilter):
    """Leaves the parts of bulk acts out, unless they or one object are asked for: one bulk act can have a million."""

    title, parameter_name = "parts of bulk acts", "part"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("all", "shown too")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        return queryset if self.value() or request.GET.get("q") else queryset.filter(bulk_act=None)


class ByKind(DropdownFilter):
    title, parameter_name = "kind", "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(kind, kind.replace("_", " ")) for kind in sorted(acts.kinds)]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        return queryset.filter(kind=self.value()) if self.value() else queryset


@admin.register(Act)
class ActAdmin(Record):
    icon = "history"
    list_display = ("created_at", "who", "kind_badge", "object", "tenant", "reason", "summary")
    list_select_related = ("tenant", "operator")
    list_filter = (("operator", AutocompleteSelectFilter), ByTenant, ByKind, ByPart, MadeWithin)
    search_fields = ("object_id__exact",)
    search_help_text = "The id of the object of an act, or of the act"
    fields = (
        ("created_at", "kind_badge"),
        ("who", "address"),
        ("object", "tenant"),
        ("object_type", "object_id"),
        "reason",
        "detail",
        "changed_fields",
        ("bulk_act", "id"),
    )

    def matching(self, wanted: UUID) -> Q:
        return Q(pk=wanted) | Q(object_id=str(wanted))

    @admin.display(description="who", ordering="name")
    def who(self, obj: Act) -> str:
        return obj.name

    @admin.display(description="kind", ordering="kind")
    def kind_badge(self, obj: Act) -> SafeString:
        return badge(obj.kind, KIND_COLOURS, obj.kind_in_words)

    @admin.display(description="object")
    def object(self, obj: Act) -> SafeString | str:
        """Links to the page of the object, which may be gone, if objects of its type have pages."""
        model = apps.get_model(obj.object_type)
        if obj.kind == acts.DELETE or not admin.site.is_registered(model):
            return obj.object_label
        address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[quote(obj.object_id)])
        return link(address, f"{model._meta.verbose_name} {obj.object_label}")

    @admin.display(description="what")
    def summary(self, obj: Act) -> str:
        return obj.summary or "-"

    @admin.display(description="changed fields")
    def changed_fields(self, obj: Act) -> SafeString | str:
        return format_html_join("", "<div>{}</div>", ((line,) for line in obj.changed_fields)) or "-"
