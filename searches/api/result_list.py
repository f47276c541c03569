"""Lists the results of a search, in pages or as a whole, while more may arrive.

By arrival, a page begins after the last result shown, and nothing is skipped. By lookup and rank, results that arrive belong
between those shown and those to come. A walk by rank therefore shows the results that had arrived when it began, and its cursors
say how many these were: each of them once, and no later one. A file, too, has what had arrived when it was asked for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db.models import QuerySet, Value
from django.db.models.expressions import RawSQL

from accounts.web import streaming
from accounts.web.pagination import rows_after
from searches.models import Lookup, Result, Search

BY_ARRIVAL = ("sequence",)
BY_RANK = ("lookup__ordinal", "rank", "arrived")
# A result with its raw object has up to some ten kilobytes.
RESULTS_AT_ONCE = 200
# The ORM lookup of each query parameter.
FILTERS = {"lookup": "lookup", "source": "lookup__source", "type": "type"}
# A result shows no more of its lookup.
OF_THE_LOOKUP = {"id", "source", "ordinal"}
NOT_SHOWN = [f"lookup__{field.name}" for field in Lookup._meta.concrete_fields if field.name not in OF_THE_LOOKUP]
ERASED = "The results of this search were erased when their retention was over; search again."
ERASED_MEANWHILE = "This file is not complete, for the search or its results were erased while it was sent."
# Reads of each lookup no more than the page can hold: a search has few lookups, and each may have many results.
PAGE = """
    SELECT found.id FROM searches_lookup lookup CROSS JOIN LATERAL (
        SELECT id, rank FROM searches_result WHERE lookup_id = lookup.id AND sequence <= %(arrived)s
            AND rank > CASE WHEN lookup.ordinal = %(ordinal)s THEN %(rank)s ELSE 0 END AND (%(type)s = '' OR type = %(type)s)
        ORDER BY rank LIMIT %(most)s
    ) found
    WHERE lookup.search_id = %(search)s AND lookup.ordinal >= %(ordinal)s
        AND (%(lookup)s::uuid IS NULL OR lookup.id = %(lookup)s) AND (%(source)s = '' OR lookup.source = %(source)s)
    ORDER BY lookup.ordinal, found.rank LIMIT %(most)s
"""
# Django has values by number only.
NAME = re.compile(r"%\((\w+)\)s")
PAGE_BY_NUMBER, NAMES = NAME.sub("%s", PAGE), NAME.findall(PAGE)


class ResultList:
    """The results of one search that a query wants. `keys`: what they are ordered by."""

    def __init__(self, search: Search, query: Mapping[str, Any]) -> None:
        self._search, self._query = search, query
        self._is_by_arrival = query["order"] == "arrival"
        self.keys = BY_ARRIVAL if self._is_by_arrival else BY_RANK

    def page(self, after: Sequence[str] | None, most: int) -> QuerySet[Result]:
        """Returns the results after the one with these keys, at most so many."""
        return self._by_arrival(after, most) if self._is_by_arrival else self._by_rank(after, most)

    def batches(self) -> Iterator[list[Result]]:
        """Yields the results that have arrived by now, some at a time. Raises `Incomplete` if they are erased meanwhile."""
        arrived = self._search.results_count
        for found in streaming.batches(self.page, keys=self.keys, size=RESULTS_AT_ONCE):
            yield [result for result in found if result.sequence <= arrived]
            if self._is_by_arrival and found[-1].sequence >= arrived:
                break
        if not Search.objects.filter(pk=self._search.pk, results_erased_at=None).exists():
            raise streaming.Incomplete("results_erased", ERASED_MEANWHILE)

    def _by_arrival(self, after: Sequence[str] | None, most: int) -> QuerySet[Result]:
        query = self._query
        wanted = self._rows().filter(
            search=self._search, **{FILTERS[name]: query[name] for name in FILTERS if name in query}
        )
        return rows_after(wanted, BY_ARRIVAL, after)[:most]

    def _by_rank(self, after: Sequence[str] | None, most: int) -> QuerySet[Result]:
        ordinal, rank, arrived = map(int, after) if after else (0, 0, self._search.results_count)
        query = self._query
        values = {
            "search": self._search.pk,
            "ordinal": ordinal,
            "rank": rank,
            "arrived": arrived,
            "most": most,
            "lookup": query.get("lookup"),
            "source": query.get("source", ""),
            "type": query.get("type", ""),
        }
        page = (
            self._rows()
            .filter(pk__in=RawSQL(PAGE_BY_NUMBER, [values[name] for name in NAMES]))
            .annotate(arrived=Value(arrived))
        )
        return page.order_by("lookup__ordinal", "rank")

    def _rows(self) -> QuerySet[Result]:
        rows = Result.objects.select_related("lookup").defer(*NOT_SHOWN)
        return rows if "include" in self._query else rows.defer("raw")
