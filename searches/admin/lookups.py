"""The admin pages of lookups, their calls and their results."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from accounts import clock
from accounts.bulk_acts.pages import BulkActs
from accounts.models import Event
from accounts.numbers import one_form
from accounts.web.admin_base import ID_ALONE, Record, RecordInline
from accounts.web.admin_columns import badge_column, json_column, link, list_of, page_of
from accounts.web.admin_dialogs import ActionVariant, DialogForm, Done, NotDone, dialog
from accounts.web.admin_filters import ByTenant, MadeWithin, by_choice
from billing import ledger
from billing.models import Entry, Hold
from billing.serializers import credits_text
from providers.admin import BySource
from providers.web_addresses import web_address
from searches.admin import bulk_kinds, gallery, search_page
from searches.admin.columns import QUEUE_STATE_COLOURS, STATUS_COLOURS, ByLookupSource, Sent, tally, wait
from searches.admin.whys import WhyOfCalls, WhyOfLookups
from searches.lanes import estimates
from searches.models import Call, Lookup, Result, Search
from searches.orders import recall


class CallInline(Sent, RecordInline):
    model = Call
    fields = ("number", "state_badge", "armed_at", "status", "duration", "returned", "cost", "error_code")
    ordering = ("-id",)

    @admin.display(description="call")
    def number(self, obj: Call) -> SafeString:
        return link(page_of(obj), f"page {obj.page}")


@admin.register(Lookup)
class LookupAdmin(WhyOfLookups, BulkActs, Record):
    icon = "manage_search"
    list_display = (
        "created_at",
        "tenant",
        "source",
        "status_badge",
        "why",
        "repeat",
        "lane",
        "progress",
        "found",
    )
    list_select_related = ("tenant", "lane")
    list_filter = (ByTenant, BySource, by_choice("status"), by_choice("queue_state"), by_choice("repeat"), MadeWithin)
    search_fields = ("error_code__exact", "tenant__name")
    search_help_text = "A tenant, an error code, or the id of a lookup or a search"
    id_fields = ("pk", "search")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("search", "tenant"),
                    ("source", "credential"),
                    ("status_badge", "queue_state_badge"),
                    ("repeat", "repeat_of"),
                    ("waits", "credits_so_far"),
                    ("error_code", "error_detail"),
                    ("hold", "entries"),
                    "announced",
                )
            },
        ),
        ("Queue", {"fields": (("lane", "sort_key"), ("created_at", "expires_at"), ("not_before", "cancel_requested"))}),
        (
            "Pages",
            {
                "fields": (
                    ("progress", "page_size"),
                    ("limit", "first_page"),
                    ("attempts", "unknown_calls"),
                    ("started_at", "finished_at"),
                    ("found", "duplicates", "unreadable"),
                    ("price", "total"),
                )
            },
        ),
        ("Parameters", {"fields": (("asked", "effective"),)}),
    )
    inlines = (CallInline,)
    change_form_outer_before_template = "admin/searches/lookup/page.html"
    actions_detail = ("cancel",)
    bulk_kinds = (bulk_kinds.CANCEL_LOOKUPS,)
    status_badge = badge_column("status", STATUS_COLOURS)
    queue_state_badge = badge_column("queue_state", QUEUE_STATE_COLOURS)
    asked = json_column("asked", "parameters")
    effective = json_column("as the provider takes it", "effective_parameters")

    class Media:
        css = {"all": ("sightline/search.css",)}

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Adds the reason of a failure or a wait, and the time line.

        The estimate and the credits are attached to the row: the page reads its fields several times, and dialogs need neither.
        """
        pages = self.admin_site._registry
        lookup = context["original"]
        lookup.forecast = estimates.forecast([lookup]).get(lookup.pk)
        lookup.tally = ledger.tallies([lookup.reference])[lookup.reference]
        lookup.is_held = Hold.objects.filter(pk=lookup.reference).exists()
        context |= search_page.of_lookup(
            lookup, lookup.forecast, lambda model: pages[model].has_view_permission(request)
        )
        return super().render_change_form(request, context, *args, **kwargs)

    @admin.display(description="hold")
    def hold(self, obj: Any) -> SafeString | str:
        return link(page_of(Hold(pk=obj.reference)), "its hold") if obj.is_held else "Nothing is held any more."

    @admin.display(description="events")
    def announced(self, obj: Lookup) -> SafeString:
        return link(list_of(Event, q=obj.search_id), "the events of its search")

    @dialog(
        "Cancel",
        permission="searches.change_search",
        icon="cancel",
        needs_reason=True,
        variant=ActionVariant.DANGER,
        offered=lambda lookup: lookup.status in Lookup.OPEN,
        title="Cancel this lookup?",
        text="It ends at no cost if it waits. A call that was sent is finished, charged and kept. The other lookups of its "
        "search go on.",
        button="Cancel the lookup",
    )
    def cancel(self, lookup: Lookup, form: DialogForm) -> Done:
        if not recall.cancel_lookup(lookup):
            raise NotDone("It has ended meanwhile.")
        return Done(record="Canceled.", message="The lookup is canceled.")

    @admin.display(description="pages")
    def progress(self, obj: Lookup) -> str:
        return f"{obj.pages_done} of {obj.pages}"

    @admin.display(description="results", ordering="result_count")
    def found(self, obj: Lookup) -> SafeString:
        return link(list_of(Result, lookup__id__exact=obj.pk), obj.result_count)

    @admin.display(description="waits for")
    def waits(self, obj: Any) -> str:
        return wait(obj.forecast)

    @admin.display(description="credits")
    def credits_so_far(self, obj: Any) -> str:
        return tally(obj.tally)

    @admin.display(description="ledger")
    def entries(self, obj: Lookup) -> SafeString:
        return link(list_of(Entry, q=obj.reference), "its entries")

    @admin.display(description="price")
    def price(self, obj: Lookup) -> str:
        return f"{credits_text(obj.price_per_call)} a call, {credits_text(obj.price_per_result)} a result"


@admin.register(Call)
class CallAdmin(WhyOfCalls, Sent, Record):
    icon = "call_made"
    list_display = (
        "armed_at",
        "tenant",
        "lookup",
        "page",
        "state_badge",
        "why",
        "status",
        "returned",
        "cost",
        "duration",
    )
    list_select_related = ("lookup__tenant",)
    list_filter = (("lookup__tenant", AutocompleteSelectFilter), ByLookupSource, by_choice("state"), MadeWithin)
    search_fields = ("provider_request_id__exact", "error_code__exact")
    search_help_text = "A provider's request id, an error code, or the id of a call or a lookup"
    id_fields = ("pk", "lookup")
    fields = (
        ("lookup", "page"),
        ("search", "entries"),
        ("state_badge", "status"),
        ("armed_at", "leased_until"),
        ("sent_at", "finished_at"),
        ("duration", "returned", "unreadable"),
        ("cost", "provider_request_id"),
        ("overbilled", "unknown"),
        ("error_code", "error_detail"),
        "excerpt",
    )

    @admin.display(description="search")
    def search(self, obj: Call) -> SafeString:
        return link(page_of(Search(pk=obj.lookup.search_id)), "its search")

    @admin.display(description="ledger")
    def entries(self, obj: Call) -> SafeString:
        return link(list_of(Entry, q=obj.lookup.reference), "the entries of its lookup")

    @admin.display(description="tenant", ordering="lookup__tenant__name")
    def tenant(self, obj: Call) -> str:
        return obj.lookup.tenant.name


@admin.register(Result)
class ResultAdmin(Record):
    icon = "star"
    list_display = ("__str__", "type", "source", "rank", "score_text", "observed_at")
    list_select_related = ("lookup",)
    list_filter = (("lookup__tenant", AutocompleteSelectFilter), ByLookupSource, MadeWithin)
    search_fields = ID_ALONE
    search_help_text = "The id of a result, a lookup or a search"
    id_fields = ("pk", "lookup", "search")
    fields = (
        "picture",
        ("title", "external_id"),
        ("address", "type"),
        ("search", "lookup"),
        ("rank", "sequence"),
        ("score_text", "observed_at"),
        "typed",
        "untouched",
    )
    typed = json_column("detail", "detail")
    untouched = json_column("the provider's own object", "raw")

    class Media:
        js = ("sightline/pictures.js",)

    @admin.display(description="score", ordering="score")
    def score_text(self, obj: Result) -> str:
        return "-" if obj.score is None else str(one_form(obj.score))

    def get_queryset(self, request: HttpRequest) -> QuerySet[Result]:
        """Leaves the large columns out of lists. A result's own page fetches them one by one."""
        return super().get_queryset(request).defer("raw", "detail")

    @admin.display(description="source", ordering="lookup__source")
    def source(self, obj: Result) -> str:
        return obj.lookup.source

    @admin.display(description="picture")
    def picture(self, obj: Result) -> SafeString | str:
        found = gallery.shown(obj.image_url, obj.media_expires_at, clock.now())
        if found.address is None:
            return found.words
        return format_html(
            '<span><img src="{}" alt="The result\'s picture" class="max-w-xl rounded-default" loading="lazy" '
            'referrerpolicy="no-referrer" data-may-fail><span hidden>{}</span></span>',
            found.address,
            found.words,
        )

    @admin.display(description="address")
    def address(self, obj: Result) -> SafeString | str:
        address = web_address(obj.url)
        if address is None:
            return obj.url or "-"
        return format_html('<a href="{0}" class="text-link" rel="noreferrer" target="_blank">{0}</a>', address)
