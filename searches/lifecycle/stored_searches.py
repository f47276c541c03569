"""Counts the searches that a tenant has stored, and bounds them. An erased search is not counted, though its row stays.

One row of the tenant has the number, so that a submit costs the same with a million searches as with one. It stays locked from
the count to the commit, so the bound is exact however many searches come at once. Transactions lock it before a picture.
"""

from __future__ import annotations

from uuid import UUID

from django.db import connection
from django.db.models import F
from django.db.models.functions import Greatest

from accounts.models import Tenant
from searches.models import SearchUsage

ADD = """
INSERT INTO searches_searchusage AS usage (tenant_id, searches) SELECT %(tenant)s, 1 WHERE %(most)s > 0
ON CONFLICT (tenant_id) DO UPDATE SET searches = usage.searches + 1 WHERE usage.searches < %(most)s
"""


class TooManySearches(Exception):
    """The tenant may store no more searches. The message names the bound."""


def add(tenant: Tenant) -> None:
    """Counts a search whose row is new in this transaction. Raises `TooManySearches`."""
    most = tenant.limit("most_searches")
    with connection.cursor() as cursor:
        cursor.execute(ADD, {"tenant": tenant.pk, "most": most})
        if not cursor.rowcount:
            raise _too_many(most)


def check(tenant: Tenant) -> None:
    """Checks whether one more may be stored, without a lock, and counts nothing. Raises `TooManySearches`."""
    most = tenant.limit("most_searches")
    stored = SearchUsage.objects.filter(tenant=tenant).values_list("searches", flat=True).first() or 0
    if stored >= most:
        raise _too_many(most)


def remove(tenant_id: UUID) -> None:
    """Subtracts a search that was erased."""
    SearchUsage.objects.filter(tenant=tenant_id).update(searches=Greatest(F("searches") - 1, 0))


def _too_many(most: int) -> TooManySearches:
    return TooManySearches(f"You may store {most:,} searches; delete some, or wait until their retention is over.")
