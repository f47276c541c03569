"""Offers bulk acts on a list, and asks before one starts: how many rows match, what it frees or costs, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.options import IncorrectLookupParameters
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils import timezone
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts import acts
from accounts.bulk_acts import matching, runs
from accounts.bulk_acts.kinds import BulkKind
from accounts.models import BulkAct
from accounts.web.admin_columns import page_of

if TYPE_CHECKING:  # unfold has no types of its own; these are Django's
    from django.contrib.admin import ModelAdmin as DjangoAdmin

    ModelAdmin = DjangoAdmin[Any]
else:
    from unfold.admin import ModelAdmin

STARTED = "It has begun, in the background."


class BulkForm(forms.Form):
    """Asks why. The rows are those that matched when the page was shown: up to the newest one then, at that moment."""

    reason = forms.CharField(
        max_length=500, widget=UnfoldAdminTextInputWidget, help_text="Why, for readers of the log of acts."
    )
    newest = forms.UUIDField(widget=forms.HiddenInput)
    moment = forms.DateTimeField(widget=forms.HiddenInput)


class BulkActs(ModelAdmin):
    """A list on whose matching rows acts can be done. `bulk_kinds`: the acts."""

    bulk_kinds: ClassVar[tuple[BulkKind, ...]] = ()

    def get_urls(self) -> list[URLPattern]:
        view = self.admin_site.admin_view(self.bulk_view)
        return [path("bulk/<str:kind_name>/", view, name=f"{self._label}_bulk"), *super().get_urls()]

    @property
    def _label(self) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}"

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> Any:
        return matching.Unfetched if hasattr(request, "only_filters") else super().get_changelist(request, **kwargs)

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Adds the bulk acts that the operator may do. Their addresses have the list's filter."""
        answer = super().changelist_view(request, extra_context)
        items = [self._item(request, kind) for kind in self.bulk_kinds if request.user.has_perm(kind.permission)]
        if items and isinstance(answer, TemplateResponse) and answer.context_data is not None:
            others = answer.context_data.get("actions_list") or []
            answer.context_data["actions_list"] = [*others, *(items if len(items) == 1 else [_menu(items)])]
        return answer

    def _item(self, request: HttpRequest, kind: BulkKind) -> dict[str, Any]:
        address = reverse(f"admin:{self._label}_bulk", args=[kind.name])
        query = request.GET.urlencode()
        return {
            "title": kind.label,
            "icon": kind.icon,
            "variant": ActionVariant.DEFAULT,
            "attrs": {},
            "dialog": None,
            "path": f"{address}?{query}" if query else address,
        }

    def bulk_view(self, request: HttpRequest, kind_name: str) -> HttpResponse:
        kind = next((kind for kind in self.bulk_kinds if kind.name == kind_name), None)
        if kind is None:
            raise Http404
        if not (self.has_view_permission(request) and request.user.has_perm(kind.permission)):
            raise PermissionDenied
        try:
            return self._asked(request, kind)
        except IncorrectLookupParameters:
            return HttpResponseRedirect(f"{reverse(f'admin:{self._label}_changelist')}?e=1")

    def _asked(self, request: HttpRequest, kind: BulkKind) -> HttpResponse:
        newest = self.model._default_manager.order_by("-pk").values_list("pk", flat=True).first()
        moment = timezone.now()
        form = BulkForm(request.POST or None, initial={"newest": newest, "moment": moment.isoformat()})
        if form.is_bound and form.is_valid():
            return self._started(request, kind, form)
        found = matching.of(self, request, moment)
        count, is_more = found.count(newest) if newest else (0, False)
        context = {
            **self.admin_site.each_context(request),
            "title": kind.label,
            "opts": self.opts,
            "kind": kind,
            "filter": found.words,
            "count": count,
            "is_more": is_more,
            "number": f"{'more than ' if is_more else ''}{count:,}",
            "weighed": kind.weigh(found.first(newest)) if count else [],
            "form": form,
            "list": f"{reverse(f'admin:{self._label}_changelist')}?{request.GET.urlencode()}",
        }
        return TemplateResponse(request, "admin/accounts/bulkact/ask.html", context)

    def _started(self, request: HttpRequest, kind: BulkKind, form: BulkForm) -> HttpResponse:
        given = form.cleaned_data
        found = matching.of(self, request, given["moment"])
        query = request.GET.urlencode()
        bulk_act = runs.start(acts.by_request(request), kind, self, found, query=query, **given)
        self.message_user(request, STARTED, messages.SUCCESS)
        may_see = admin.site._registry[BulkAct].has_view_permission(request)
        return HttpResponseRedirect(page_of(bulk_act) if may_see else reverse(f"admin:{self._label}_changelist"))


def _menu(items: list[dict[str, Any]]) -> dict[str, Any]:
    return {"title": "All that match", "icon": "select_all", "variant": ActionVariant.DEFAULT, "items": items}
