"""The base of the operators' pages of every app, so that each app's `admin` says only what is its own.

Big tables are never counted. They are ordered and dated by their ids, which are made in the order of time, and a search for an
id uses the index, never a scan. Rows that a run writes (lookups, holds, entries) are shown and not edited: what an operator may
do to them is an action (`admin_dialogs`) that calls the module that owns them.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import reduce
from operator import and_, or_
from typing import TYPE_CHECKING, Any, ClassVar
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import unquote
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import FieldError, PermissionDenied, ValidationError
from django.core.paginator import Paginator
from django.core.validators import ProhibitNullCharactersValidator
from django.db import DataError, IntegrityError, NotSupportedError, ProgrammingError
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
from psycopg.errors import UniqueViolation

from accounts.models import Tenant
from accounts.web import admin_export
from accounts.web.admin_acts import OnRecord
from accounts.web.admin_bundles import unbundled
from accounts.web.admin_lists import NEWEST_FIRST, BoundedPaginator, PaginatorById, RowList

if TYPE_CHECKING:  # unfold has no types of its own; these are Django's
    from django.contrib import admin

    class ModelAdmin(admin.ModelAdmin[Any]):
        def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]: ...

    TabularInline = admin.TabularInline[Any, Any]

    class PaginationInlineFormSet(forms.BaseInlineFormSet[Any, Any, Any]):
        request: HttpRequest

        def get_pagination_key(self) -> str: ...
else:
    from unfold.admin import ModelAdmin, TabularInline
    from unfold.forms import PaginationInlineFormSet

# The name of a tenant, as it ends in `search_fields`.
TENANTS_NAME = "tenant__name"
# The search fields of a list that finds rows by ids alone.
ID_ALONE = ("id",)
# Names that have a text in common. Who means another one types more of it.
MOST_TENANTS = 100

# The errors of Django and PostgreSQL for values that a column cannot have, and for lookups that it does not know.
UNREADABLE: tuple[type[Exception], ...] = (
    *(ArithmeticError, AttributeError, FieldError, LookupError, TypeError, ValueError, ValidationError),
    *(DataError, NotSupportedError, ProgrammingError),
)


class SearchSelect(AutocompleteSelect):
    """A choice that is searched for. A form with errors is rendered again with what was posted, which may be no id."""

    def optgroups(self, name: str, value: Any, attr: Any = None) -> Any:
        model = self.field.remote_field.model
        return super().optgroups(name, [each for each in value if _can_be_id(model, each)], attr)


class Page(OnRecord, ModelAdmin):
    """A model's pages. `icon`: its sign in the sidebar. `id_fields`: searched where the term is an id."""

    icon: ClassVar[str]
    id_fields: ClassVar[tuple[str, ...]] = ("pk",)
    paginator = BoundedPaginator
    list_after_template = "admin/export_link.html"
    list_filter_submit = True
    list_per_page = 50
    show_full_result_count = False
    show_facets = ShowFacets.NEVER

    @property
    def media(self) -> forms.Media:
        """Leaves out the styles and scripts that every page has."""
        return unbundled(super().media)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Leaves them out of what the widgets of a form ask for too."""
        context["media"] = unbundled(context["media"])
        return super().render_change_form(request, context, *args, **kwargs)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Refuses filters on secret columns: typed into the address, they would spell a secret out letter by letter."""
        return lookup.split("__")[0] not in self.secret_fields and super().lookup_allowed(lookup, value, request)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """Fetches the rows already here, so that an error of the database about a value in the address shows Django's page for
        wrong addresses. Django's own guard ends before the query is sent.
        """
        try:
            changes = super().get_changelist_instance(request)
            self.attach(list(changes.result_list))
        except UNREADABLE as error:
            raise IncorrectLookupParameters(error) from error
        return changes

    def attach(self, rows: list[Any]) -> None:
        """Attaches to the rows of a page what their columns show of other tables, by as many queries as for one row."""

    def get_urls(self) -> list[URLPattern]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_export"
        return [path("export/", self.admin_site.admin_view(self.export), name=name), *super().get_urls()]

    def export(self, request: HttpRequest) -> HttpResponseBase:
        """Answers all rows that match the filters of the address, as a file."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        self.request = request
        try:
            return admin_export.response(request, self.get_changelist_instance(request))
        except IncorrectLookupParameters:
            return HttpResponseRedirect("../?e=1")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[RowList]:
        return RowList

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Checks a form once more if the database refuses a value as taken: another operator stored it after the first check. The
        second check finds the other's row, and shows the form with its sentence.
        """
        try:
            return super().changeform_view(request, *args, **kwargs)
        except IntegrityError as error:
            if not isinstance(error.__cause__, UniqueViolation):
                raise
        return super().changeform_view(request, *args, **kwargs)

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs.setdefault("widget", SearchSelect(db_field, self.admin_site, using=kwargs.get("using")))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Keeps the values of the address that the fields of an empty form take. Rendering any other would fail."""
        fields = self.get_form(request, change=False).base_fields
        given = super().get_changeform_initial_data(request)
        return {name: value for name, value in given.items() if name in fields and _passes(fields[name].clean, value)}

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *args: Any) -> HttpResponse | None:
        """Refuses chosen rows whose ids cannot be ids: the database would fail on them."""
        if not all(_can_be_id(self.model, chosen) for chosen in request.POST.getlist(ACTION_CHECKBOX_NAME)):
            self.message_user(request, "Such rows cannot be here; choose them anew.", messages.WARNING)
            return HttpResponseRedirect(request.get_full_path())
        return super().response_action(request, queryset, *args)

    def row(self, request: HttpRequest, object_id: str) -> Any:
        """Returns the row that an action is about, by the id in its address. Raises `Http404`."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            raise Http404
        return row

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        """Returns None for a null character, on which the database would fail."""
        return None if "\0" in object_id else super().get_object(request, object_id, from_field)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        """Finds rows by an id, or by all words of a text. A text is looked for in the names of tenants first, which are few."""
        try:
            wanted = self.matching(UUID(search_term.strip()))
        except ValueError:
            wanted = self.matching_words(search_term.split())
        return queryset.filter(wanted), False

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[Any]:
        """Offers the dialogs that this operator may open for this row, which is fetched once for all of them."""
        actions = super().get_actions_detail(request, object_id)
        row = self.get_object(request, unquote(object_id)) if actions else None
        return [each for each in actions if getattr(each.method, "allows", lambda *_: True)(request, row)]

    def get_paginator(self, request: HttpRequest, queryset: Any, *args: Any, **kwargs: Any) -> Paginator[Any]:
        if queryset.model is self.model and tuple(self.ordering or ()) == NEWEST_FIRST:
            return PaginatorById(queryset, *args, **kwargs)
        return super().get_paginator(request, queryset, *args, **kwargs)

    def matching(self, wanted: UUID) -> Q:
        """Returns the condition by which a search for an id finds rows."""
        return reduce(or_, (Q(**{field: wanted}) for field in self.id_fields), Q(pk__in=()))

    def matching_words(self, words: list[str]) -> Q:
        """Returns the condition by which a search for words finds rows. No words are in every row."""
        fields = [field for field in self.search_fields if field not in ID_ALONE]
        return reduce(or_, (_has_all(field, words) for field in fields), Q(pk__in=())) if words else Q()


def locked(tenant_id: UUID) -> Tenant:
    """Locks a tenant until a form is saved, so that a limit that the form checks still holds then."""
    return Tenant.objects.select_for_update(no_key=True).get(pk=tenant_id)


class Record(Page):
    """Pages of rows that their own modules write: read-only, whatever the operator's permissions."""

    # Any other order would read the whole table.
    ordering: ClassVar[tuple[str, ...]] = NEWEST_FIRST
    sortable_by: ClassVar[tuple[str, ...] | None] = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class PagedRows(PaginationInlineFormSet):
    def get_page_num(self) -> int:
        """Returns the page that the address names, or the first: a number can be too long to be read."""
        try:
            return max(1, int(self.request.GET.get(self.get_pagination_key(), 1)))
        except ValueError:
            return 1


class RecordInline(TabularInline):
    """Read-only rows on the page of the row that they belong to."""

    formset = PagedRows
    extra = 0
    per_page = 50
    hide_title = True
    can_delete = False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        return self.fields

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def _has_all(field: str, words: list[str]) -> Q:
    """Returns the condition that a column has all the words. One that names a lookup has the text as a whole."""
    if field.endswith(TENANTS_NAME):
        named = Tenant.objects.filter(reduce(and_, (Q(name__icontains=word) for word in words)))
        return Q(**{f"{field.removesuffix('__name')}__in": list(named.values_list("pk", flat=True)[:MOST_TENANTS])})
    if field.rsplit("__")[-1] in ("exact", "startswith"):
        return Q(**{field: " ".join(words)})
    return reduce(and_, (Q(**{f"{field}__icontains": word}) for word in words))


def _passes(check: Callable[..., object], *values: Any) -> bool:
    try:
        check(*values)
    except ValidationError:
        return False
    return True


def _can_be_id(model: type[Model], text: Any) -> bool:
    return _passes(ProhibitNullCharactersValidator(), text) and _passes(model._meta.pk.clean, text, None)
