"""Stores the hits of an adapter as results, in the order of the pages. A hit that an earlier page had is only counted."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection
from uuid_utils.compat import uuid7

from providers import media_expiry
from providers.contract import Answer, Hit
from searches.models import Lookup, Result, Search

# The largest number of an `integer` column.
LARGEST_TOTAL = 2_147_483_647
COLUMNS = {str(field.column): field.attname for field in Result._meta.concrete_fields}
# All rows are sent as one JSON document. Django would send an array for each column, with the JSON columns quoted once more,
# which takes three times as long.
WRITE = f"""
INSERT INTO searches_result ({", ".join(COLUMNS)})
SELECT {", ".join(COLUMNS)} FROM json_populate_recordset(NULL::searches_result, %s)
"""


def keep(lookup: Lookup, search: Search, answer: Answer, *, came_at: datetime) -> None:
    """Writes the hits that the lookup does not have yet, and counts them on both rows. The caller has locked and saves these."""
    lookup.unreadable += answer.unreadable
    if answer.total is not None and answer.total <= LARGEST_TOTAL:
        lookup.total = answer.total
    if not answer.hits:
        return
    known = set(lookup.results.values_list("external_id", flat=True)) if lookup.result_count else set()
    new: dict[str, Hit] = {}
    for hit in answer.hits:
        if hit.external_id[:200] not in known:
            new.setdefault(hit.external_id[:200], hit)
    _write(
        Result(
            id=uuid7(),
            search_id=search.pk,
            lookup_id=lookup.pk,
            rank=lookup.result_count + number,
            sequence=search.results_count + number,
            type=hit.type,
            external_id=external_id,
            title=hit.title[:500],
            url=hit.url,
            image_url=hit.image_url,
            media_expires_at=media_expiry.of(hit.image_url),
            score=hit.score,
            detail=hit.detail,
            raw=hit.raw,
            observed_at=came_at,
        )
        for number, (external_id, hit) in enumerate(new.items(), start=1)
    )
    search.results_count += len(new)
    lookup.result_count += len(new)
    lookup.duplicates += len(answer.hits) - len(new)


def copy(found: Sequence[Result], lookup: Lookup, search: Search) -> None:
    """Writes another lookup's results as results of this one, in the given order, and counts them as `keep` does."""
    _write(
        _copied(result, lookup, sequence=search.results_count + number) for number, result in enumerate(found, start=1)
    )
    search.results_count += len(found)
    lookup.result_count = len(found)


def _write(found: Iterable[Result]) -> None:
    if rows := [_row(result) for result in found]:
        with connection.cursor() as cursor:
            cursor.execute(WRITE, (json.dumps(rows, cls=DjangoJSONEncoder),))


def _row(result: Result) -> dict[str, Any]:
    row = {column: getattr(result, name) for column, name in COLUMNS.items()}
    # Django's encoder would cut off the microseconds.
    return {name: str(value) if isinstance(value, (datetime, UUID)) else value for name, value in row.items()}


def _copied(result: Result, lookup: Lookup, *, sequence: int) -> Result:
    own = {"id": uuid7(), "search_id": lookup.search_id, "lookup_id": lookup.pk, "sequence": sequence}
    return Result(**{field.attname: getattr(result, field.attname) for field in Result._meta.concrete_fields} | own)
