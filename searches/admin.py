"""The product as operators see it: all of it read-only, but that a search can be canceled.

A picture is shown on its own page and on its searches', small, through a view that asks for the permission to see it.
What providers return is foreign: only http and https addresses become links or pictures, and no referrer goes with them.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import flatten, flatten_fieldsets
from django.core.exceptions import PermissionDenied
from django.core.files.storage import default_storage
from django.db.models import Count, Model, Q, QuerySet, Sum
from django.db.models.functions import Least
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString
from PIL import Image as Picture
from unfold.contrib.filters.admin import AutocompleteSelectFilter

from accounts.operators import (
    ActionVariant,
    ByTenant,
    MadeWithin,
    Record,
    RecordInline,
    action,
    badge,
    by_choice,
    done,
    indented,
    link,
    list_of,
    page_of,
)
from billing import ledger
from billing.models import Entry
from billing.serializers import credits_text
from providers import policies
from providers.admin import ByProvider, BySource
from searches import ending, forecasts
from searches.models import Call, Image, Lane, Lookup, Place, Rendering, Result, Search

MODE_COLOURS = {"live": "success", "test": "info"}
STATUS_COLOURS = {
    "queued": "info",
    "running": "primary",
    "succeeded": "success",
    "partial": "warning",
    "failed": "danger",
    "expired": "warning",
}
STANDING_COLOURS = {"ready": "info", "asleep": "warning", "parked": "danger"}
CALL_COLOURS = {"armed": "info", "answered": "success", "failed": "danger", "unknown": "warning"}
# A search's own page shows this many of its newest calls and first results, and links to the rest.
SHOWN = 48
THUMBNAIL = (480, 480)


class ByLookupSource(BySource):
    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        return queryset.filter(lookup__source=self.value()) if self.value() else queryset


class ByLaneProvider(ByProvider):
    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        return queryset.filter(lane__provider=self.value()) if self.value() else queryset


def wait(forecast: forecasts.Forecast | None) -> str:
    if forecast is None:
        return "-"
    parts = [str(forecast.waiting_on)]
    if forecast.position is not None:
        parts.append(f"number {forecast.position} in line")
    if forecast.estimated_start_at is not None:
        parts.append(f"from {forecast.estimated_start_at:%H:%M:%S}")
    return ", ".join(parts)


def tally(credit: ledger.Tally) -> str:
    held, unknown = f"{credits_text(credit.held)} held", f"{credits_text(credit.unknown)} unknown"
    parts = [f"{credits_text(credit.charged)} charged", held if credit.held else "", unknown if credit.unknown else ""]
    return ", ".join(part for part in parts if part)


def took(call: Call) -> str:
    if not call.sent_at or not call.finished_at:
        return "-"
    return f"{(call.finished_at - call.sent_at).total_seconds() * 1000:,.0f} ms"


def web_address(address: str | None) -> str | None:
    """The address if a browser may be sent there: never `javascript:` or `data:`, whatever a provider returned."""
    return address if address and address.lower().startswith(("http://", "https://")) else None


def thumbnail(image: Image) -> SafeString:
    address = reverse("admin:searches_image_picture", args=[image.pk])
    return format_html(
        '<a href="{}"><img src="{}" alt="The picture" class="rounded-default" style="max-height: 15rem"></a>',
        page_of(image),
        address,
    )


class RenderingInline(RecordInline):
    model = Rendering
    fields = ("provider", "media_type", "bytes")
    readonly_fields = fields
    ordering = ("provider",)


@admin.register(Image)
class ImageAdmin(Record):
    icon = "image"
    list_display = ("created_at", "tenant", "format", "size", "bytes", "sha256")
    list_select_related = ("tenant",)
    list_filter = (ByTenant, MadeWithin)
    search_fields = ("sha256__exact",)
    search_help_text = "An id, or the SHA-256 of the file as it was sent"
    fields = ("picture", "tenant", "format", "size", "bytes", "sha256", "pixels_sha256", "created_at", "searches")
    readonly_fields = fields
    inlines = (RenderingInline,)

    def get_urls(self) -> list[URLPattern]:
        show = self.admin_site.admin_view(self.show)
        return [path("<uuid:image_id>/picture/", show, name="searches_image_picture"), *super().get_urls()]

    def show(self, request: HttpRequest, image_id: UUID) -> HttpResponse:
        """The picture, made small. It is encoded anew, so that its type is ours to say, whatever was sent in."""
        image = get_object_or_404(Image, pk=image_id)
        if not self.has_view_permission(request, image):
            raise PermissionDenied
        small = BytesIO()
        try:
            with default_storage.open(image.file) as file, Picture.open(file) as picture:
                picture.draft("RGB", THUMBNAIL)
                picture.thumbnail(THUMBNAIL)
                picture.save(small, "WEBP")
        except FileNotFoundError:
            raise Http404("The picture is no longer stored.") from None
        return HttpResponse(small.getvalue(), content_type="image/webp", headers={"X-Content-Type-Options": "nosniff"})

    @admin.display(description="picture")
    def picture(self, obj: Image) -> SafeString:
        return thumbnail(obj)

    @admin.display(description="size", ordering="width")
    def size(self, obj: Image) -> str:
        return f"{obj.width} × {obj.height}"

    @admin.display(description="searches")
    def searches(self, obj: Image) -> SafeString:
        return link(list_of(Search, image__id__exact=obj.pk), "with this picture")


@admin.register(Rendering)
class RenderingAdmin(Record):
    icon = "photo_size_select_large"
    list_display = ("image", "tenant", "provider", "media_type", "bytes")
    list_select_related = ("image__tenant",)
    list_filter = (ByProvider,)
    search_fields = ("file__exact",)
    search_help_text = "The id of a picture"
    id_fields = ("image",)
    fields = ("image", "tenant", "provider", "media_type", "bytes")
    readonly_fields = fields

    @admin.display(description="tenant", ordering="image__tenant__name")
    def tenant(self, obj: Rendering) -> str:
        return obj.image.tenant.name


class PlaceInline(RecordInline):
    model = Place
    fields = ("tenant", "ready", "wake_at", "virtual_time")
    readonly_fields = fields

    def get_queryset(self, request: HttpRequest) -> QuerySet[Place]:
        """In the order of their turns, those with nothing to do last."""
        return (
            super()
            .get_queryset(request)
            .select_related("tenant")
            .order_by(Least("ready", 1).desc(), "virtual_time", "tenant")
        )


@admin.register(Lane)
class LaneAdmin(Record):
    icon = "linear_scale"
    list_display = ("name", "provider", "mode_badge", "waiting", "tenants", "paused_until", "backoff")
    list_filter = (ByProvider, by_choice("mode"))
    search_fields = ("name",)
    search_help_text = "A lane, a provider, or the id of a test key's tenant"
    ordering = ("name",)
    sortable_by = None
    fields = ("name", "provider", "mode_badge", "waiting", "expected_wait", "paused_until", "backoff", "virtual_time")
    readonly_fields = fields
    inlines = (PlaceInline,)

    def names(self, wanted: UUID) -> Q:
        return Q(pk__endswith=f":{wanted}")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Lane]:
        """The lines are counted by their places: as many rows as tenants, however many lookups wait."""
        in_line = Count("places", filter=Q(places__ready__gt=0))
        lanes: QuerySet[Lane] = super().get_queryset(request)
        return lanes.annotate(in_line=in_line, line=Sum("places__ready", default=0))

    @admin.display(description="mode", ordering="mode")
    def mode_badge(self, obj: Lane) -> SafeString:
        return badge(obj.mode, MODE_COLOURS)

    @admin.display(description="ready to go", ordering="line")
    def waiting(self, obj: Any) -> int:
        return int(obj.line)

    @admin.display(description="tenants in line", ordering="in_line")
    def tenants(self, obj: Any) -> int:
        return int(obj.in_line)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        lane: Any = super().get_object(request, object_id, from_field)
        if lane is not None:
            lane.state = forecasts.lane_state(lane.pk, policies.of(lane.provider))
        return lane

    @admin.display(description="a newcomer waits")
    def expected_wait(self, obj: Any) -> str:
        return f"about {obj.state.expected_wait_seconds:,.1f} s"


@admin.register(Place)
class PlaceAdmin(Record):
    icon = "groups"
    list_display = ("lane", "tenant", "ready", "wake_at", "virtual_time")
    list_select_related = ("lane", "tenant")
    list_filter = (ByTenant, ByLaneProvider)
    search_fields = ("tenant__name", "lane__name")
    search_help_text = "A tenant, a lane, or a tenant's id"
    ordering = ("lane", "virtual_time")
    sortable_by = None
    id_fields = ("tenant",)
    fields = ("lane", "tenant", "ready", "wake_at", "virtual_time")
    readonly_fields = fields


@admin.register(Search)
class SearchAdmin(Record):
    icon = "image_search"
    list_display = ("created_at", "tenant", "sources", "status_badge", "mode_badge", "results_count", "finished_at")
    list_select_related = ("tenant",)
    list_filter = (ByTenant, by_choice("status"), by_choice("mode"), MadeWithin)
    search_fields = ("tenant__name",)
    search_help_text = "A tenant, or the id of a search, a lookup or a picture"
    rows = (
        ("status_badge", "mode_badge"),
        ("tenant", "api_key"),
        ("created_at", "expires_at"),
        ("finished_at", "priority"),
        ("id", "version"),
    )
    readonly_fields = ("picture", "tenants_metadata", *flatten(rows))
    change_form_outer_after_template = "admin/searches/search/found.html"
    actions_detail = ("cancel",)

    def names(self, wanted: UUID) -> Q:
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
        """With what came of it, as far as the operator may see each kind of row."""
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
        waits = forecasts.forecast(lookups)
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
        results = search.results.select_related("lookup").defer("raw", "detail").order_by("sequence")[:SHOWN]
        return {
            "title": "Results",
            "all": list_of(Result, search__id__exact=search.pk),
            "gallery": [
                {
                    "address": page_of(result),
                    "link": web_address(result.url),
                    "image": web_address(result.image_url),
                    "title": str(result),
                    "source": result.lookup.source,
                    "rank": result.rank,
                    "score": result.score,
                }
                for result in results
            ],
        }

    @admin.display(description="picture")
    def picture(self, obj: Search) -> SafeString:
        return thumbnail(obj.image)

    @admin.display(description="sources")
    def sources(self, obj: Search) -> str:
        return ", ".join(dict.fromkeys(lookup.source for lookup in obj.lookups.all()))

    @admin.display(description="status", ordering="status")
    def status_badge(self, obj: Search) -> SafeString:
        return badge(obj.status, STATUS_COLOURS)

    @admin.display(description="mode", ordering="mode")
    def mode_badge(self, obj: Search) -> SafeString:
        return badge(obj.mode, MODE_COLOURS)

    @admin.display(description="tenant's metadata")
    def tenants_metadata(self, obj: Search) -> SafeString:
        return indented(obj.metadata)

    def has_cancel_permission(self, request: HttpRequest, object_id: str) -> bool:
        running = Search.objects.filter(pk=object_id, finished_at=None).exists()
        return running and request.user.has_perm("searches.change_search")

    @action(
        description="Cancel",
        permissions=["cancel"],
        icon="cancel",
        variant=ActionVariant.DANGER,
        dialog={
            "title": "Cancel this search?",
            "description": "What waits ends at no cost. A call that is under way is finished, charged and kept.",
            "form_submit_text": "Cancel the search",
        },
    )
    def cancel(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        search = Search.objects.get(pk=object_id)
        ending.cancel(search)
        self.log_change(request, search, "Canceled.")
        return done(request, page_of(search), "The search is canceled.")


class Sent:
    """How a call is shown, wherever it is."""

    @admin.display(description="state", ordering="state")
    def state_badge(self, obj: Call) -> SafeString:
        return badge(obj.state, CALL_COLOURS)

    @admin.display(description="credits", ordering="credits")
    def cost(self, obj: Call) -> str:
        return credits_text(obj.credits)

    @admin.display(description="took")
    def duration(self, obj: Call) -> str:
        return took(obj)


class CallInline(Sent, RecordInline):
    model = Call
    fields = ("number", "state_badge", "armed_at", "status", "duration", "returned", "cost", "error_code")
    readonly_fields = fields
    ordering = ("-id",)

    @admin.display(description="call")
    def number(self, obj: Call) -> SafeString:
        return link(page_of(obj), f"page {obj.page}")


@admin.register(Lookup)
class LookupAdmin(Record):
    icon = "manage_search"
    list_display = ("created_at", "tenant", "source", "status_badge", "standing_badge", "lane", "progress", "found")
    list_select_related = ("tenant", "lane")
    list_filter = (ByTenant, BySource, by_choice("status"), by_choice("standing"), MadeWithin)
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
                    ("status_badge", "standing_badge"),
                    ("waits", "credits_so_far"),
                    ("error_code", "error_detail"),
                    "entries",
                )
            },
        ),
        ("In line", {"fields": (("lane", "turn"), ("created_at", "expires_at"), ("not_before", "cancel_requested"))}),
        (
            "Pages",
            {
                "fields": (
                    ("progress", "page_size"),
                    ("limit", "first_page"),
                    ("attempts", "unknown_calls"),
                    ("started_at", "finished_at"),
                    ("found", "duplicates"),
                    ("price", "total"),
                )
            },
        ),
        ("What was asked", {"fields": (("asked", "understood"),)}),
    )
    inlines = (CallInline,)

    def get_readonly_fields(self, request: HttpRequest, obj: Lookup | None = None) -> list[str]:
        return flatten_fieldsets(self.fieldsets)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """With what must be asked for: a page reads each of its fields several times."""
        lookup: Any = super().get_object(request, object_id, from_field)
        if lookup is not None:
            lookup.forecast = forecasts.forecast([lookup]).get(lookup.pk)
            lookup.tally = ledger.tallies([lookup.reference])[lookup.reference]
        return lookup

    @admin.display(description="status", ordering="status")
    def status_badge(self, obj: Lookup) -> SafeString:
        return badge(obj.status, STATUS_COLOURS)

    @admin.display(description="standing", ordering="standing")
    def standing_badge(self, obj: Lookup) -> SafeString:
        return badge(obj.standing, STANDING_COLOURS)

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

    @admin.display(description="asked")
    def asked(self, obj: Lookup) -> SafeString:
        return indented(obj.parameters)

    @admin.display(description="as the provider takes it")
    def understood(self, obj: Lookup) -> SafeString:
        return indented(obj.effective_parameters)


@admin.register(Call)
class CallAdmin(Sent, Record):
    icon = "call_made"
    list_display = ("armed_at", "tenant", "lookup", "page", "state_badge", "status", "returned", "cost", "duration")
    list_select_related = ("lookup__tenant",)
    list_filter = (("lookup__tenant", AutocompleteSelectFilter), ByLookupSource, by_choice("state"), MadeWithin)
    search_fields = ("provider_request_id__exact", "error_code__exact")
    search_help_text = "A provider's request id, an error code, or the id of a call or a lookup"
    id_fields = ("pk", "lookup")
    fields = (
        ("lookup", "page"),
        ("state_badge", "status"),
        ("armed_at", "leased_until"),
        ("sent_at", "finished_at"),
        ("duration", "returned"),
        ("cost", "provider_request_id"),
        ("error_code", "error_detail"),
        "excerpt",
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Call | None = None) -> list[str]:
        return flatten(self.fields)

    @admin.display(description="tenant", ordering="lookup__tenant__name")
    def tenant(self, obj: Call) -> str:
        return obj.lookup.tenant.name


@admin.register(Result)
class ResultAdmin(Record):
    icon = "star"
    list_display = ("__str__", "type", "source", "rank", "score", "observed_at")
    list_select_related = ("lookup",)
    list_filter = (("lookup__tenant", AutocompleteSelectFilter), ByLookupSource, MadeWithin)
    search_fields = ("external_id__exact",)
    search_help_text = "The provider's id, or the id of a result, a lookup or a search"
    id_fields = ("pk", "lookup", "search")
    fields = (
        "picture",
        ("title", "external_id"),
        ("address", "type"),
        ("search", "lookup"),
        ("rank", "sequence"),
        ("score", "observed_at"),
        "typed",
        "untouched",
    )

    def get_readonly_fields(self, request: HttpRequest, obj: Result | None = None) -> list[str]:
        return flatten(self.fields)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Result]:
        """Without the large columns, which a result's own page fetches one by one."""
        return super().get_queryset(request).defer("raw", "detail")

    @admin.display(description="source", ordering="lookup__source")
    def source(self, obj: Result) -> str:
        return obj.lookup.source

    @admin.display(description="picture")
    def picture(self, obj: Result) -> SafeString:
        address = web_address(obj.image_url)
        if address is None:
            return SafeString("-")
        return format_html(
            '<img src="{}" alt="" class="rounded-default" style="max-height: 15rem" referrerpolicy="no-referrer">',
            address,
        )

    @admin.display(description="address")
    def address(self, obj: Result) -> SafeString | str:
        address = web_address(obj.url)
        if address is None:
            return obj.url or "-"
        return format_html('<a href="{0}" class="text-link" rel="noreferrer" target="_blank">{0}</a>', address)

    @admin.display(description="detail")
    def typed(self, obj: Result) -> SafeString:
        return indented(obj.detail)

    @admin.display(description="the provider's own object")
    def untouched(self, obj: Result) -> SafeString:
        return indented(obj.raw)
