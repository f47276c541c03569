"""Moves sealed secrets to the first of our keys, row by row, while everything else runs: the one home of it for every table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import Model, QuerySet

from accounts import vault

M = TypeVar("M", bound=Model)


@dataclass(kw_only=True)
class Resealed(Generic[M]):
    """Counts secrets: those moved, and those under the first key already. `unopenable`: rows with a secret no key opens."""

    moved: int = 0
    current: int = 0
    unopenable: list[M] = field(default_factory=list)


def reseal(rows: QuerySet[M], columns: Sequence[str], owner_of: Callable[[M], str]) -> Resealed[M]:
    """Reseals these columns of all rows. `owner_of`: returns the owner that a row's secrets are sealed for."""
    done: Resealed[M] = Resealed()
    for row in rows.order_by("pk").iterator(chunk_size=200):
        try:
            for column in columns:
                if getattr(row, column) is not None:
                    moved = _reseal(rows, row, columns, column, owner_of(row))
                    done.moved += moved
                    done.current += not moved
        except vault.Unopenable:
            done.unopenable.append(row)
        except ObjectDoesNotExist:
            continue
    return done


def _reseal(rows: QuerySet[M], row: M, columns: Sequence[str], column: str, owner: str) -> bool:
    """Returns whether the secret was moved. A secret that is stored meanwhile is kept, and resealed in its turn.

    All columns are read again, because a rotation moves a secret from one column to the other.
    """
    moved = False
    while (value := getattr(row, column)) is not None:
        sealed = bytes(value)
        secret = vault.open(sealed, associated=owner)
        if vault.is_current(sealed):
            break
        unchanged = rows.filter(pk=row.pk, **{column: sealed})
        moved = unchanged.update(**{column: vault.seal(secret, associated=owner)}) == 1
        row.refresh_from_db(fields=columns, from_queryset=rows.select_related(None))
    return moved
