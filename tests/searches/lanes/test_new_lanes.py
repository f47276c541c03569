"""Tests of new lanes: the first submit that needs one creates it, and blocks no other submit that does."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Event

import pytest

from accounts import keys
from accounts.models import ApiKey, Mode, Tenant
from providers import registry
from searches import pictures
from searches.lanes import directory, queue
from searches.models import Lane, TenantQueue
from searches.orders import submission
from searches.orders.order import LookupOrder, Order
from tests.api.background import background
from tests.bench.picture import jpeg
from tests.patience import HANGS_AFTER_SECONDS

KNOWN, NEW = (LookupOrder(source=source, parameters={}) for source in ("tiktok-products", "tiktok-creators"))


def submit(key: ApiKey, *lookups: LookupOrder, picture: int = 1) -> None:
    fit = {adapter.provider: adapter.picture_limits for adapter in registry.ADAPTERS.values()}
    with pictures.received(key.tenant, jpeg(picture), fit=fit) as draft:
        submission.submit(key, Order(lookups=lookups, max_age=3600), draft)


def test_two_submits_that_need_a_new_lane_and_share_a_known_one_do_not_wait_for_each_other(
    transactional_db: None, alice: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One submit creates the new lane while another has locked its queue in the known lane."""
    key = keys.issue(alice, Mode.TEST)[0]
    submit(key, KNOWN)
    opened, joined = Event(), Event()
    open_lanes, join = directory.create_missing, queue.enqueue

    def opens(lanes: Iterable[Lane]) -> None:
        open_lanes(lanes)
        if not opened.is_set():
            opened.set()
            joined.wait(2)

    def joins(lane: Lane, tenant_id: object, **what: int) -> None:
        join(lane, alice.pk, **what)
        joined.set()

    monkeypatch.setattr(directory, "create_missing", opens)
    monkeypatch.setattr(queue, "enqueue", joins)
    with background() as start:
        # The second of its lookups follows the first.
        first = start(lambda: submit(key, KNOWN, KNOWN, NEW, picture=2))
        assert opened.wait(5)
        start(lambda: submit(key, KNOWN, NEW, picture=3)).result(HANGS_AFTER_SECONDS)
        first.result(HANGS_AFTER_SECONDS)
    assert sorted(TenantQueue.objects.values_list("ready", flat=True)) == [2, 3]
