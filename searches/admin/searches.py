"""The admin page of a search, with its picture, results and time lines. Its only actions are cancel and erase."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from accounts.bulk_acts.pages import BulkActs
from accounts.web.admin_base import Record
from accounts.web.admin_columns import badge, badge_column, json_column
from accounts.web.admin_dialogs import ActionVariant, DialogForm, Done, NotDone, dialog
from accounts.web.admin_filters import ByCondition, ByTenant, MadeWithin, by_choice
from searches.admin import bulk_kinds, retrying, search_page
from searches.admin.columns import MODE_COLOURS, STATUS_COLOURS
from searches.admin.pictures import small_picture
from searches.admin.whys import WhyOfSearches
from searches.models import Image, Lookup, Search, Status
from searches.orders import recall


class ByErasure(ByCondition):
    title, parameter_name = "erasure", "erasure"
    conditions = {"kept": Q(erased_at=None), "erased": ~Q(erased_at=None)}


@admin.register(Search)
class SearchAdmin(WhyOfSearches, BulkActs, Record):
    icon = "image_search"
    list_display = (
        "created_at",
        "picture",
        "tenant",
        "sources",
        "status_badge",
        "why",
        "mode_badge",
        "results_count",
        "finished_at",
    )
    list_select_related = ("tenant",)
    list_filter = (ByTenant, by_choice("status"), by_choice("mode"), ByErasure, MadeWithin)
    search_fields = ("tenant__name",)
    search_help_text = "A tenant, or the id of a search, a lookup or a picture"
    fields = (
        ("status_badge", "mode_badge"),
        ("tenant", "api_key"),
        ("created_at", "expires_at"),
        ("finished_at", "results_erased_at", "erased_at"),
        ("priority", "version"),
        ("retry_of", "max_age"),
        ("crop", "id"),
        "tenants_metadata",
    )
    mode_badge = badge_column("mode", MODE_COLOURS)
    tenants_metadata = json_column("tenant's metadata", "metadata")
    change_form_outer_before_template = "admin/searches/search/page.html"
    actions_detail = ("cancel", "retry", "erase")
    bulk_kinds = (bulk_kinds.CANCEL_SEARCHES, bulk_kinds.RETRY_SEARCHES, bulk_kinds.ERASE_SEARCHES)

    class Media:
        css = {"all": ("sightline/search.css",)}
        js = ("sightline/pictures.js",)

    def matching(self, wanted: UUID) -> Q:
        return Q(pk=wanted) | Q(image=wanted) | Q(pk__in=Lookup.objects.filter(pk=wanted).values("search"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Search]:
        return super().get_queryset(request).prefetch_related("lookups")

    def sees(self, request: HttpRequest, model: type[Model]) -> bool:
        return self.admin_site._registry[model].has_view_permission(request)

    def get_list_display(self, request: HttpRequest) -> tuple[str, ...]:
        """Leaves the pictures out for an operator who may not see them."""
        return tuple(name for name in self.list_display if name != "picture" or self.sees(request, Image))

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Adds what became of the search, each part only if the operator may see that kind of row."""
        context |= search_page.parts(context["original"], request, lambda model: self.sees(request, model))
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="picture")
    def picture(self, obj: Search) -> SafeString:
        return small_picture(obj.image_id) if obj.image_id else SafeString("-")

    @admin.display(description="sources")
    def sources(self, obj: Search) -> str:
        return ", ".join(dict.fromkeys(lookup.source for lookup in obj.lookups.all()))

    @admin.display(description="status", ordering="status")
    def status_badge(self, obj: Search) -> SafeString:
        return badge(obj.status if obj.erased_at is None else "erased", STATUS_COLOURS)

    @dialog(
        "Cancel",
        permission="searches.change_search",
        icon="cancel",
        needs_reason=True,
        variant=ActionVariant.DANGER,
        offered=lambda search: search.finished_at is None and search.erased_at is None,
        title="Cancel this search?",
        text="Waiting lookups end at no cost. A call that was sent is finished, charged and kept.",
        button="Cancel the search",
    )
    def cancel(self, search: Search, form: DialogForm) -> Done:
        recall.cancel(search)
        return Done(record="Canceled.", message="The search is canceled.")

    @dialog(
        "Retry",
        permission="searches.change_search",
        icon="refresh",
        needs_reason=True,
        asks_outside=True,
        offered=lambda search: search.erased_at is None and search.status in (Status.FAILED, Status.PARTIAL),
        title="Retry what has failed?",
        text="The failed lookups are asked once more, whole, in a new search of the tenant. That costs what it costs now, under "
        "the tenant's caps and balance.",
        button="Retry",
    )
    def retry(self, search: Search, form: DialogForm) -> Done:
        def written(new: Search) -> None:
            form.record(detail=f"Retried in the search {new.pk}.")

        try:
            new = retrying.retry(search, written=written).search
        except (retrying.NothingToRetry, retrying.RetryRefused) as error:
            raise NotDone(str(error)) from None
        return Done(record="", message="It is retried in this search.", page_of=new)

    @dialog(
        "Erase",
        permission="searches.delete_search",
        icon="delete_forever",
        needs_reason=True,
        variant=ActionVariant.DANGER,
        offered=lambda search: search.erased_at is None,
        title="Erase this search?",
        text="The search is canceled. Its parameters and results are erased now and for good, and its picture unless another "
        "search uses it. Its tenant no longer sees it. The ledger keeps its costs.",
        button="Erase the search",
    )
    def erase(self, search: Search, form: DialogForm) -> Done:
        recall.erase(search)
        return Done(record="Erased.", message="The search is erased.")
