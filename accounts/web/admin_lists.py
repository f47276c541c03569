"""Lists of the operators' pages that cost the same however many rows there are.

Nothing is counted. Big lists, which are in the order of their ids, are paged by those: the address names the last id of the page
before, and the index leads there. Others have an OFFSET, which is bounded.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from django.contrib.admin.utils import quote, unquote
from django.db.models import BooleanField, DateTimeField, Model, QuerySet
from django.http import HttpRequest

from accounts.web.admin_columns import flag_column, moment_column

if TYPE_CHECKING:  # unfold has no types of its own; these are Django's
    from django.contrib.admin.views.main import ChangeList
    from django.core.paginator import Paginator

    InfinitePaginator = Paginator[Any]
else:
    from unfold.paginator import InfinitePaginator
    from unfold.views import ChangeList

# The order of big lists.
NEWEST_FIRST = ("-pk",)

# The rows that can be reached by pages with an OFFSET. Who looks for one behind them narrows the list.
MOST_ROWS = 50_000
# The names in an address of the ids between which a page is: rows behind the one, or before the other.
BEHIND, BEFORE = "behind", "before"


class BoundedPaginator(InfinitePaginator):
    """Pages with an OFFSET, without a count: it says that there are as many rows as may be reached."""

    count = MOST_ROWS


class PaginatorById(BoundedPaginator):
    template_name = "admin/pagination_by_id.html"


class RowList(ChangeList):
    """A page of a list. One that is paged by ids has `newer` and `older`: the addresses of the pages beside it."""

    newer: str | None = None
    older: str | None = None

    def __init__(self, request: HttpRequest, model: type[Model], list_display: Any, links: Any, *args: Any) -> None:
        shown = columns_of(model, list_display)
        super().__init__(request, model, shown, columns_of(model, links or ()), *args)

    @property
    def is_by_id(self) -> bool:
        return tuple(self.model_admin.ordering or ()) == NEWEST_FIRST

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        """Keeps the names of the page's place from Django, which would take them for filters."""
        for name in (BEHIND, BEFORE):
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        return super().get_queryset(request, exclude_parameters)

    def get_ordering(self, request: HttpRequest, queryset: QuerySet[Any]) -> list[Any]:
        """Keeps an order that an address asks for from a big list: it would be sorted whole."""
        return list(NEWEST_FIRST if self.is_by_id else super().get_ordering(request, queryset))

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        # Nobody has counted either.
        self.full_result_count = self.result_count
        if self.is_by_id:
            self.result_list = self._page_by_id(request.GET.get(BEHIND), request.GET.get(BEFORE))

    def _page_by_id(self, behind: str | None, before: str | None) -> list[Any]:
        size = self.list_per_page
        if before is not None:
            rows = list(self.queryset.filter(pk__gt=unquote(before)).order_by("pk")[: size + 1])
            if len(rows) > size:
                rows = rows[:size][::-1]
                self._link(rows, newer=True, older=True)
                return rows
            # Fewer are left: that is the first page.
            behind = None
        queryset = self.queryset if behind is None else self.queryset.filter(pk__lt=unquote(behind))
        rows = list(queryset[: size + 1])
        self._link(rows[:size], newer=behind is not None, older=len(rows) > size)
        return rows[:size]

    def _link(self, rows: list[Any], *, newer: bool, older: bool) -> None:
        if rows and newer:
            self.newer = self.get_query_string({BEFORE: quote(rows[0].pk)})
        elif newer:
            self.newer = self.get_query_string({})
        if older:
            self.older = self.get_query_string({BEHIND: quote(rows[-1].pk)})


@cache
def column_of(model: type[Model], name: str) -> Any:
    """Returns how a list shows a column of the model: times are relative, and yes or no are words. All else stays a name."""
    field: Any = next((field for field in model._meta.concrete_fields if field.name == name), None)
    if isinstance(field, DateTimeField):
        return moment_column(name, str(field.verbose_name))
    if isinstance(field, BooleanField):
        return flag_column(name, str(field.verbose_name))
    return name


def columns_of(model: type[Model], names: Iterable[Any]) -> list[Any]:
    return [column_of(model, name) if isinstance(name, str) else name for name in names]
