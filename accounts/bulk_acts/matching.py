"""Reads the rows that match a list's filter, as the list itself does, without fetching them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import QuerySet
from django.http import HttpRequest, QueryDict

from accounts.models import BulkAct, Tenant, User
from accounts.web.admin_lists import RowList

# Rows are counted, and their credits added up, as far as this.
MOST_COUNTED = 10_000
EVERYTHING = "no filter: all rows"
TENANT = "tenant__id__exact"


class Unfetched(RowList):
    """A list with its filters and without its rows."""

    def get_results(self, request: HttpRequest) -> None:
        self.result_list: Any = []


@dataclass(frozen=True, kw_only=True)
class Matching:
    """The rows that match. `words`: the filter in words. `tenant`: the one that the filter names, if any."""

    rows: QuerySet[Any]
    words: str
    tenant: Tenant | None

    def first(self, newest: Any) -> QuerySet[Any]:
        """Returns the first rows up to the newest one, as many as are counted, for use within other queries."""
        return self.rows.filter(pk__lte=newest).order_by("pk").values("pk")[:MOST_COUNTED]

    def count(self, newest: Any) -> tuple[int, bool]:
        """Returns the number of rows up to the newest one, and whether there are more than are counted."""
        found = self.rows.filter(pk__lte=newest).order_by().values("pk")[: MOST_COUNTED + 1].count()
        return min(found, MOST_COUNTED), found > MOST_COUNTED


def of(page: Any, request: HttpRequest, moment: datetime) -> Matching:
    """Returns what matches the filter of a list's address, whose ages end at this moment. Raises `IncorrectLookupParameters`."""
    asked: Any = request
    asked.only_filters, asked.moment = True, moment
    changes = page.get_changelist_instance(request)
    given = {name: ", ".join(values) for name, values in changes.get_filters_params().items()}
    words = [*_filters_in_words(changes, given), *([f"search: {changes.query}"] if changes.query else [])]
    rows = changes.queryset.prefetch_related(None)
    return Matching(rows=rows, words=", ".join(words) or EVERYTHING, tenant=_tenant(given))


def request_of(bulk_act: BulkAct, operator: User) -> HttpRequest:
    """Returns a request for the list of a bulk act, as its operator would send it."""
    request = HttpRequest()
    request.method, request.GET, request.user = "GET", QueryDict(bulk_act.query), operator
    return request


def _filters_in_words(changes: Any, given: Mapping[str, str]) -> Iterable[str]:
    left = dict(given)
    for spec in changes.filter_specs:
        values = [left.pop(name) for name in spec.expected_parameters() if name in left]
        if values:
            yield f"{spec.title}: {', '.join(_value(spec, value) for value in values)}"
    yield from (f"{name}: {value}" for name, value in left.items())


def _value(spec: Any, value: str) -> str:
    """Returns a filter's value as a person reads it: the name of the row that an id stands for."""
    model = getattr(getattr(spec, "field", None), "related_model", None)
    found = _found(model, value) if model is not None else None
    return value if found is None else str(found)


def _tenant(given: Mapping[str, str]) -> Tenant | None:
    ids = [value for name, value in given.items() if name == TENANT or name.endswith(f"__{TENANT}")]
    return _found(Tenant, ids[0]) if ids else None


def _found(model: Any, value: str) -> Any:
    try:
        return model._default_manager.filter(pk=value).first()
    except (ValidationError, ValueError):
        return None
