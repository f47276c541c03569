"""The kinds of bulk acts. Each page names its own; the function that owns an act does it to one row."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db.models import QuerySet

from accounts import acts

Written = Callable[[], object]


class Skipped(Exception):
    """A row that needs or takes no act. The message says why."""


class Failed(Exception):
    """A row whose act was refused. The message says why."""


@dataclass(frozen=True, kw_only=True)
class BulkKind:
    """An act that can be done to all rows of a list.

    `act`: does it to one row, and calls `written` as the last step of its transaction, which is then all or nothing. Raises
    `Skipped` or `Failed`. `weigh`: returns sentences on what it frees or costs for rows, of which there are a bounded number.
    `permission`: asked for at the start and again while it runs.
    """

    name: str
    label: str
    icon: str
    text: str
    button: str
    permission: str
    act: Callable[[Any, Written], None]
    weigh: Callable[[QuerySet[Any]], list[str]]

    def __post_init__(self) -> None:
        acts.kinds.add(self.name)
