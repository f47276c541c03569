"""The admin page of a search, with its picture, lookups, calls and first results. Its only actions are cancel and erase."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from accounts.numbers import one_form
from accounts.web.admin_base import Record
from accounts.web.admin_columns import badge, badge_column, json_column, link, list_of, page_of
from accounts.web.admin_dialogs import ActionVariant, DialogForm, Done, dialog
from accounts.web.admin_filters import ByCondition, ByTenant, MadeWithin, by_choice
from billing import ledger
from billing.serializers import credits_text
from providers import registry
from providers.web_addresses import web_address
from searches.admin.columns import CALL_COLOURS, MODE_COLOURS, STATUS_COLOURS, about, tally, took, wait
from searches.admin.pictures import thumbnail
from searches.lanes import estimates
from searches.models import Call, Image, Lookup, Result, Search
from searches.orders import recall

# The page shows this many of the newest calls and first results, and links to the rest.
SHOWN = 48
# The page shows at least this many results of each lookup.
LEAST_OF_EACH = 6
CREATORS = {source for source, adapter in registry.ADAPTERS.items() if adapter.result_type == "creator"}
SIGNS = {"creator": "person", "product": "shopping_bag", "video": "movie"}


def _tile(result: Result) -> dict[str, Any]:
    return {
        "address": page_of(result),
        "link": web_address(result.url),
        "image": web_address(result.image_url),
        "title": str(result),
        "sign": SIGNS.get(result.type, "image"),
        "about": " · ".join(about(result)),
        "rank": result.rank,
        "score": None if result.score is None else one_form(result.score),
    }


class ByErasure(ByCondition):
    title, parameter_name = "erasure", "erasure"
    conditions = {"kept": Q(erased_at=None), "erased": ~Q(erased_at=None)}


@admin.register(Search)
class SearchAdmin(Record):
    icon = "image_search"
    list_display = ("created_at", "tenant", "sources", "status_badge", "mode_badge", "results_count", "finished_at")
    list_select_related = ("tenant",)
    list_filter = (ByTenant, by_choice("status"), by_choice("mode"), ByErasure, MadeWithin)
    search_fields = ("tenant__name",)
    search_help_text = "A tenant, or the id of a search, a lookup or a picture"
    rows = (
        ("status_badge", "mode_badge"),
        ("tenant", "api_key"),
        ("created_at", "expires_at"),
        ("finished_at", "results_erased_at", "erased_at"),
        ("priority", "version"),
        ("retry_of", "max_age"),
        ("crop", "id"),
    )
    mode_badge = badge_column("mode", MODE_COLOURS)
    tenants_metadata = json_column("tenant's metadata", "metadata")
    change_form_outer_after_template = "admin/searches/search/found.html"
    actions_detail = ("cancel", "erase")

    def matching(self, wanted: UUID) -> Q:
        return Q(pk=wanted) | Q(image=wanted) | Q(pk__in=Lookup.objects.filter(pk=wanted).values("search"))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Search]:
        return super().get_queryset(request).prefetch_related("lookups")

    def get_fields(self, request: HttpRequest, obj: Search | None = None) -> Any:
        pictures = self.admin_site._registry[Image]
        return (
            ("picture", "tenants_metadata") if pictures.has_view_permission(request) else "tenants_metadata",
            *self.rows,
        )

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Adds the lookups, calls and results, each only if the operator may see that kind of row."""
        parts = ((Lookup, self._lookups), (Call, self._calls), (Result, self._results))
        context["parts"] = [
            part(context["original"])
            for model, part in parts
            if self.admin_site._registry[model].has_view_permission(request)
        ]
        return super().render_change_form(request, context, *args, **kwargs)

    def _lookups(self, search: Search) -> dict[str, Any]:
        lookups = list(search.lookups.all())
        tallies = ledger.tallies(lookup.reference for lookup in lookups)
        waits = estimates.forecast(lookups)
        return {
            "title": "Lookups",
            "table": {
                "headers": ["Source", "Status", "Waits for", "Pages", "Results", "Credits", "Error"],
                "rows": [
                    [
                        link(page_of(lookup), lookup.source),
                        badge(lookup.status, STATUS_COLOURS),
                        wait(waits.get(lookup.pk)),
                        f"{lookup.pages_done} of {lookup.pages}",
                        lookup.result_count,
                        tally(tallies[lookup.reference]),
                        lookup.error_code or "-",
                    ]
                    for lookup in lookups
                ],
            },
        }

    def _calls(self, search: Search) -> dict[str, Any]:
        calls = Call.objects.filter(lookup__search=search).select_related("lookup").order_by("-id")
        return {
            "title": "Calls",
            "all": list_of(Call, lookup__search__id__exact=search.pk),
            "table": {
                "headers": ["Call", "State", "HTTP", "Took", "Returned", "Credits", "Error"],
                "rows": [
                    [
                        link(page_of(call), f"{call.lookup.source}, page {call.page}"),
                        badge(call.state, CALL_COLOURS),
                        call.status or "-",
                        took(call),
                        "-" if call.returned is None else call.returned,
                        credits_text(call.credits),
                        call.error_code or "-",
                    ]
                    for call in calls[:SHOWN]
                ],
            },
        }

    def _results(self, search: Search) -> dict[str, Any]:
        """Returns the best results of each lookup, creators first. By arrival a quick source would hide the others."""
        lookups = sorted(search.lookups.all(), key=lambda lookup: (lookup.source not in CREATORS, lookup.ordinal))
        share = max(LEAST_OF_EACH, SHOWN // max(1, len(lookups)))
        galleries = [
            {
                "source": lookup.source,
                "count": lookup.result_count,
                "tiles": [_tile(result) for result in lookup.results.defer("raw").order_by("rank")[:share]],
            }
            for lookup in lookups
        ]
        return {
            "title": "Results",
            "all": list_of(Result, search__id__exact=search.pk),
            "galleries": [gallery for gallery in galleries if gallery["tiles"]],
        }

    @admin.display(description="picture")
    def picture(self, obj: Search) -> SafeString:
        return thumbnail(obj.image) if obj.image else badge("erased", STATUS_COLOURS)

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
