"""What the operators' pages of every app share, so that each app's `admin` says only what is its own.

Big tables are never counted and are ordered and dated by their ids, which are made in the order of time; a search for
an id goes to the index, never to a scan. Rows that run (lookups, holds, entries) are shown, not edited: what an operator
may do to them is an action that calls the module that owns them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar
from uuid import UUID

from django import forms
from django.contrib import messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.models import LogEntry
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import quote, unquote
from django.contrib.admin.widgets import AutocompleteSelect
from django.core.exceptions import FieldError, ValidationError
from django.core.paginator import Paginator
from django.core.validators import ProhibitNullCharactersValidator
from django.db import DataError, NotSupportedError, ProgrammingError
from django.db.models import Model, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from unfold.contrib.filters.admin import AutocompleteSelectFilter, ChoicesDropdownFilter
from unfold.enums import ActionVariant
from unfold.paginator import InfinitePaginator
from unfold.utils import display_for_label

from accounts.models import Tenant

if TYPE_CHECKING:  # unfold has no types of its own; these are Django's
    from django.contrib import admin

    F = TypeVar("F", bound=Callable[..., Any])
    ModelAdmin = admin.ModelAdmin[Any]
    TabularInline = admin.TabularInline[Any, Any]
    DropdownFilter = admin.SimpleListFilter

    class PaginationInlineFormSet(forms.BaseInlineFormSet[Any, Any, Any]):
        request: HttpRequest

        def get_pagination_key(self) -> str: ...

    class DialogForm(forms.Form):
        request: HttpRequest
        object_id: str

    # `permissions` name methods of the page's: of Django's own names unfold asks the database, before it is migrated.
    def action(
        *,
        description: str,
        permissions: Sequence[str],
        icon: str,
        variant: ActionVariant = ...,
        dialog: dict[str, Any] | None = None,
    ) -> Callable[[F], F]: ...
else:
    from unfold.admin import ModelAdmin, TabularInline
    from unfold.contrib.filters.admin import DropdownFilter
    from unfold.decorators import action
    from unfold.forms import BaseDialogForm as DialogForm
    from unfold.forms import PaginationInlineFormSet

__all__ = ["ActionVariant", "DialogForm", "action"]

# Of a value that was changed: enough to know it again.
MOST_CHARACTERS = 200

ByTenant = ("tenant", AutocompleteSelectFilter)


def by_choice(field: str) -> tuple[str, Any]:
    return (field, ChoicesDropdownFilter)


class MadeWithin(DropdownFilter):
    """By age, through the primary key: ids of version 7 begin with the milliseconds at which they were made."""

    title = "age"
    parameter_name = "made"
    spans: ClassVar[dict[str, tuple[str, timedelta]]] = {
        "hour": ("the past hour", timedelta(hours=1)),
        "day": ("the past 24 hours", timedelta(days=1)),
        "week": ("the past 7 days", timedelta(days=7)),
        "month": ("the past 30 days", timedelta(days=30)),
    }

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, words) for name, (words, _) in self.spans.items()]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        span = self.spans.get(self.value() or "")
        return queryset.filter(pk__gte=first_id_of(timezone.now() - span[1])) if span else queryset


class WhetherSet(DropdownFilter):
    """By whether a column has a value: `words` say what it means that it has none, and that it has one."""

    column: ClassVar[str]
    words: ClassVar[tuple[str, str]]

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(word, word) for word in self.words]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        if self.value() not in self.words:
            return queryset
        return queryset.filter(**{f"{self.column}__isnull": self.value() == self.words[0]})


# What Django and PostgreSQL say of values that a column cannot have, and of lookups that it does not know.
UNREADABLE: tuple[type[Exception], ...] = (
    *(ArithmeticError, AttributeError, FieldError, LookupError, TypeError, ValueError, ValidationError),
    *(DataError, NotSupportedError, ProgrammingError),
)


class Sought(AutocompleteSelect):
    """A choice that is searched for. A refused form is drawn again with what was posted, which may be no id."""

    def optgroups(self, name: str, value: Any, attr: Any = None) -> Any:
        model = self.field.remote_field.model
        return super().optgroups(name, [each for each in value if _may_be_id(model, each)], attr)


class Page(ModelAdmin):
    """A model's pages. `icon` is its sign in the sidebar; `id_fields` are searched where the term is an id."""

    icon: ClassVar[str]
    id_fields: ClassVar[tuple[str, ...]] = ("pk",)
    secret_fields: ClassVar[tuple[str, ...]] = ()
    list_filter_submit = True
    list_per_page = 50
    show_full_result_count = False
    show_facets = ShowFacets.NEVER

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """A filter typed into the address must not spell out, letter by letter, what no page shows."""
        return lookup.split("__")[0] not in self.secret_fields and super().lookup_allowed(lookup, value, request)

    def get_changelist_instance(self, request: HttpRequest) -> Any:
        """The rows are fetched here, so that the database's no to an address is Django's page for addresses that it cannot make
        sense of. Its own guard ends before the query is sent.
        """
        try:
            changes = super().get_changelist_instance(request)
            len(changes.result_list)
        except UNREADABLE as error:
            raise IncorrectLookupParameters(error) from error
        return changes

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs.setdefault("widget", Sought(db_field, self.admin_site, using=kwargs.get("using")))
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """What of an address an empty form can begin with; its fields would fail while they are drawn with anything else."""
        fields = self.get_form(request, change=False).base_fields
        given = super().get_changeform_initial_data(request)
        return {name: value for name, value in given.items() if name in fields and _is_taken(fields[name], value)}

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *args: Any) -> HttpResponse | None:
        """Chosen rows come by their ids, of which the database would refuse to look for some."""
        if not all(_may_be_id(self.model, chosen) for chosen in request.POST.getlist(ACTION_CHECKBOX_NAME)):
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
        """None for what can be no id: the database would not even look for a null character."""
        return None if "\0" in object_id else super().get_object(request, object_id, from_field)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[Any], bool]:
        try:
            wanted = UUID(search_term.strip())
        except ValueError:
            return super().get_search_results(request, queryset, search_term)
        return queryset.filter(self.names(wanted)), False

    def get_paginator(self, request: HttpRequest, queryset: Any, *args: Any, **kwargs: Any) -> Paginator[Any]:
        """A row's history is short, so that it is counted; the list that it hangs on may not be."""
        if queryset.model is LogEntry:
            return Paginator(queryset, *args, **kwargs)
        return super().get_paginator(request, queryset, *args, **kwargs)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """Says of each field from what to what it was changed, but of what may be secret."""
        message: Any = super().construct_change_message(request, form, formsets, add)
        for part in message:
            if "changed" in part and "name" not in part["changed"]:
                labels = zip(part["changed"]["fields"], form.changed_data, strict=True)
                part["changed"]["fields"] = [f"{label}{self._change_of(form, name)}" for label, name in labels]
        return message

    def _change_of(self, form: Any, name: str) -> str:
        field = form.fields.get(name)
        if field is None or not (isinstance(field, forms.BooleanField) or self._may_be_told(name)):
            return ""
        return f" from {in_words(field, form.initial.get(name))} to {in_words(field, form.cleaned_data.get(name))}"

    def _may_be_told(self, name: str) -> bool:
        """Whether a page may show what is in the column: a secret comes in through a field of the form's own."""
        columns = {field.name for field in (*self.opts.get_fields(), *self.opts.many_to_many) if field.concrete}
        return name in columns - {"password", *self.secret_fields}

    def names(self, wanted: UUID) -> Q:
        return reduce(or_, (Q(**{field: wanted}) for field in self.id_fields))


def locked(tenant_id: UUID) -> Tenant:
    """Locks a tenant until a form is saved, so that the room for a row of its own that the form checks is still there then."""
    return Tenant.objects.select_for_update(no_key=True).get(pk=tenant_id)


class Record(Page):
    """Rows that their own modules write: to be seen, whatever the operator's permissions."""

    paginator = InfinitePaginator
    # By id, newest first: any other order would have to read a whole table.
    ordering: ClassVar[tuple[str, ...]] = ("-pk",)
    sortable_by: ClassVar[tuple[str, ...] | None] = ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class Rows(PaginationInlineFormSet):
    def get_page_num(self) -> int:
        """Returns the page that the address names, and the first where it names none: a number can be too long to be read."""
        try:
            return max(1, int(self.request.GET.get(self.get_pagination_key(), 1)))
        except ValueError:
            return 1


class RecordInline(TabularInline):
    """The same, on the page of the row that they belong to."""

    formset = Rows
    extra = 0
    per_page = 50
    hide_title = True
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def _is_taken(field: forms.Field, value: Any) -> bool:
    try:
        field.clean(value)
    except ValidationError:
        return False
    return True


def _may_be_id(model: type[Model], text: Any) -> bool:
    try:
        ProhibitNullCharactersValidator()(text)
        model._meta.pk.clean(text, None)
    except ValidationError:
        return False
    return True


def in_words(field: Any, value: Any) -> str:
    """Returns a form's value as a person reads it, whether it is the initial one or the cleaned one."""
    if isinstance(field, forms.BooleanField):
        return "yes" if value else "no"
    if value is None or value == "":
        return "nothing"
    if isinstance(field, forms.ModelMultipleChoiceField):
        return ", ".join(sorted(str(each) for each in value)) or "nothing"
    if isinstance(field, forms.ModelChoiceField):
        return str(value if isinstance(value, Model) else field.clean(value))
    choices = dict(getattr(field, "choices", ()))
    text = " ".join(str(choices.get(value, value)).split())
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"


def page_of(row: Model) -> str:
    return reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", args=[quote(row.pk)])


def list_of(model: type[Model], **filters: Any) -> str:
    """The address of a model's list, narrowed."""
    path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return f"{path}?{urlencode(filters)}"


def link(address: str, text: object) -> SafeString:
    return format_html('<a href="{}" class="text-link">{}</a>', address, text)


def badge(value: str, colours: dict[str, str], text: str = "") -> SafeString:
    """A word in the colour of its value: one of unfold's, such as success or danger; none means grey."""
    shown: SafeString = display_for_label((value, text or value), "-", {value: colours.get(value, "")})
    return shown


def indented(value: object) -> SafeString:
    """JSON for reading."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return format_html('<pre style="white-space: pre-wrap; overflow-wrap: anywhere">{}</pre>', text)


def done(request: HttpRequest, address: str, said: str, level: int = messages.SUCCESS) -> HttpResponse:
    """Ends a dialog: the page behind it is loaded anew, with a word on what happened."""
    messages.add_message(request, level, said)
    return HttpResponse(headers={"HX-Redirect": address})


def first_id_of(moment: datetime) -> UUID:
    """The least id of version 7 that could have been made then."""
    milliseconds = int(moment.timestamp() * 1000)
    return UUID(int=milliseconds << 80 | 7 << 76 | 2 << 62)
