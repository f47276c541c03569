"""Builds model instances from rows that database functions return.

Reading such rows again through the ORM would take longer than a claim itself: Django needs more time to build a query than
PostgreSQL to answer it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from django.db import connection
from django.db.models import Model


def columns(rows: Mapping[str, type[Model]]) -> str:
    """Returns the SELECT list for tables of these names, or for a function's results that are rows."""
    return ", ".join(
        f'({name})."{field.column}"' for name, model in rows.items() for field in model._meta.concrete_fields
    )


def instances(rows: Mapping[str, type[Model]], values: Sequence[Any]) -> Iterator[Any]:
    """Yields an instance for each of `rows` from the values that `columns` selected; None where there was no row."""
    rest = iter(values)
    for model in rows.values():
        yield _instance(model, rest)


def _instance(model: type[Model], values: Iterator[Any]) -> Model | None:
    found = {field.attname: _read(field, next(values)) for field in model._meta.concrete_fields}
    if found[model._meta.pk.attname] is None:
        return None
    return model.from_db(connection.alias, list(found), list(found.values()))


def _read(field: Any, value: Any) -> Any:
    for convert in field.get_db_converters(connection):
        value = convert(value, None, connection)
    return value
