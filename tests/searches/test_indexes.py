"""Tests that no index of a table that every lookup writes is made superfluous by another."""

from __future__ import annotations

import pytest
from django.db import connection, models

from billing.models import Entry
from searches.models import Lookup, Result, Search, TenantQueue

pytestmark = pytest.mark.django_db

# Pairs of unconditional indexes of a table of which the first begins with the columns of the second, and so finds the same.
DOUBLED = """
SELECT one.indexrelid::regclass::text, other.indexrelid::regclass::text FROM pg_index one JOIN pg_index other
    ON other.indrelid = one.indrelid AND other.indexrelid <> one.indexrelid
WHERE one.indrelid = %s::regclass AND one.indpred IS NULL AND other.indpred IS NULL
    AND (one.indkey::text || ' ') LIKE (other.indkey::text || ' %%')
"""


@pytest.mark.parametrize("model", [Entry, Lookup, TenantQueue, Result, Search])
def test_no_index_is_the_beginning_of_another(model: type[models.Model]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(DOUBLED, [model._meta.db_table])
        doubled: list[tuple[str, str]] = cursor.fetchall()
    # Django creates two indexes for a foreign key to a text. The second is for prefixes.
    assert [pair for pair in doubled if not any(name.endswith("_like") for name in pair)] == []
