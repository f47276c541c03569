"""Sends rows to PostgreSQL by COPY. Only what differs between two rows is given: all else is the column's default."""

from __future__ import annotations

import json
import random
from datetime import datetime
from typing import Any

from django.db import connection
from django.db.models import Field, JSONField, Model
from django.db.models.fields import NOT_PROVIDED

NULL = r"\N"


class Table:
    """The rows of one model that are still to be sent. `names`: the columns that are given, in the order of the values."""

    def __init__(self, model: type[Model], *names: str) -> None:
        own = {field.attname: field for field in model._meta.concrete_fields}
        rest = [field for field in own.values() if field.attname not in names and _has_default(field)]
        columns = [own[name].column for name in names] + [field.column for field in rest]
        self.count = len(names)
        self.rest = "".join(f"\t{text(_default(field))}" for field in rest) + "\n"
        quoted = ", ".join(f'"{column}"' for column in columns)
        self.statement = f"COPY {model._meta.db_table} ({quoted}) FROM STDIN"
        self.lines: list[str] = []

    def add(self, *values: Any) -> None:
        assert len(values) == self.count
        self.lines.append("\t".join(map(text, values)) + self.rest)

    def send(self) -> None:
        with connection.cursor() as cursor, cursor.copy(self.statement) as copy:
            copy.write("".join(self.lines))
        self.lines.clear()


def text(value: Any) -> str:
    """Returns a value as COPY reads it. Texts are given without tabs, line ends and backslashes."""
    if type(value) is str:
        return value
    if value is None:
        return NULL
    if isinstance(value, bytes):
        return rf"\\x{value.hex()}"
    if isinstance(value, (dict, list)):
        return json.dumps(value)
    return str(value)


def _has_default(field: Field[Any, Any]) -> bool:
    """Returns whether a column needs a value here: the database has none for it, and it may not be empty."""
    made_by_database = field.db_default is not NOT_PROVIDED or getattr(field, "db_returning", False)
    return not made_by_database and not (field.null and not field.has_default())


def _default(field: Field[Any, Any]) -> Any:
    value = field.get_default()
    if isinstance(value, list) and not isinstance(field, JSONField):
        return "{}"
    return value


def id_at(moment: datetime, chance: random.Random) -> str:
    """Returns an id as if a row was made at this moment."""
    number = (
        int(moment.timestamp() * 1000) << 80 | 7 << 76 | chance.getrandbits(12) << 64 | 2 << 62 | chance.getrandbits(62)
    )
    digits = f"{number:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
