"""Calls and searches of a given moment, written as rows: their ids and columns say when they were made."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from accounts import clock
from accounts.ids import first_id_of
from accounts.models import Tenant
from accounts.rollups import HOUR, floor
from searches.models import Call, Lookup, Search
from tests.searches.conftest import Fill

Made = Callable[..., Call]


def id_of(moment: datetime) -> UUID:
    """Returns an id of version 7 of this moment."""
    return UUID(int=first_id_of(moment).int | secrets.randbits(62))


@pytest.fixture
def noon() -> datetime:
    """Returns a whole hour some hours ago, whose calls no run counts again by itself."""
    return floor(clock.now(), HOUR) - 5 * HOUR


@pytest.fixture
def lookup(fill: Fill, alice: Tenant) -> Lookup:
    return fill(alice, 1)[0]


@pytest.fixture
def call(lookup: Lookup) -> Made:
    """Returns `call`: `call(moment)` writes a call of Alice's that was sent then and answered after 250 ms."""

    def call(moment: datetime, *, of: Lookup = lookup, ms: int = 250, **other: Any) -> Call:
        values: dict[str, Any] = {
            "id": id_of(moment),
            "lookup": of,
            "page": 0,
            "state": Call.State.ANSWERED,
            "armed_at": moment,
            "leased_until": moment + timedelta(seconds=30),
            "sent_at": moment,
            "finished_at": moment + timedelta(milliseconds=ms),
        }
        return Call.objects.create(**values | other)

    return call


def submitted(moment: datetime, tenant: Tenant, status: str, mode: str = "live") -> Search:
    return Search.objects.create(
        id=id_of(moment),
        tenant=tenant,
        mode=mode,
        status=status,
        created_at=moment,
        finished_at=None if status in ("queued", "running") else moment,
        erased_at=moment,
        expires_at=moment + timedelta(days=1),
    )
