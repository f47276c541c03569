"""Fixtures of a lane with waiting lookups, written as rows, so that the queue is tested without submits."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest
import redis
from django.conf import settings
from django.db import transaction

from accounts import clock
from accounts.models import Mode, Tenant
from providers import policies
from providers.keyring import credentials
from providers.models import Credential, Policy
from searches.lanes import directory, queue
from searches.lanes.queue import ClaimedLookup
from searches.models import Image, Lane, Lookup, Search
from tests.providers.conftest import provider, shared_sandbox, site
from tests.searches.lives import submit

__all__ = ["provider", "shared_sandbox", "site", "submit"]

Fill = Callable[..., list[Lookup]]
LEASE = timedelta(seconds=30)


@pytest.fixture
def redis_client() -> redis.Redis:
    """Returns a client of this test process's own Redis database."""
    return redis.Redis.from_url(settings.REDIS_URL)


@pytest.fixture
def policy(db: None) -> Policy:
    return policies.of("modash")


@pytest.fixture
def lane(policy: Policy, alice: Tenant) -> Lane:
    return directory.lane_of(policy, mode=Mode.LIVE, tenant_id=alice.pk)


@pytest.fixture
def fill(lane: Lane) -> Fill:
    """Returns `fill`: `fill(alice, 3)` writes three ready lookups of hers, in the order of their sort keys."""

    def fill(tenant: Tenant, count: int, *, priority: int = 0, pages: int = 1) -> list[Lookup]:
        image = Image.objects.get_or_create(
            tenant=tenant,
            sha256="0" * 64,
            defaults={"format": "jpeg", "width": 1, "height": 1, "bytes": 1, "file": f"{tenant.pk}/picture"},
        )[0]
        lookups = [_lookup(tenant, lane, image, priority, pages) for _ in range(count)]
        if lookups:
            with transaction.atomic():
                queue.enqueue(lane, tenant.pk, lookups=count, pending_calls=count * pages)
        return lookups

    return fill


def _lookup(tenant: Tenant, lane: Lane, image: Image, priority: int, pages: int) -> Lookup:
    credential = Credential.objects.filter(tenant=tenant, is_default=True).first()
    moment = clock.now()
    expires_at = moment + timedelta(days=1)
    search = Search.objects.create(
        tenant=tenant, mode=Mode.LIVE, image=image, priority=priority, created_at=moment, expires_at=expires_at
    )
    return Lookup.objects.create(
        search=search,
        tenant=tenant,
        ordinal=0,
        source="tiktok-creators",
        provider="modash",
        credential=credential or credentials.store(tenant, "modash", f"the-key-of-{tenant.pk}"),
        lane=lane,
        sort_key=queue.sort_key(priority=priority, created_at=moment),
        limit=20,
        page_size=20,
        pages=pages,
        price_per_result=Decimal("0.025"),
        expires_at=expires_at,
        created_at=moment,
    )


@pytest.fixture
def claim(lane: Lane, policy: Policy) -> Callable[[], ClaimedLookup | None]:
    def claim() -> ClaimedLookup | None:
        return queue.claim(lane.name, policy, lease=LEASE)

    return claim


@pytest.fixture
def drain(claim: Callable[[], ClaimedLookup | None]) -> Callable[..., list[Lookup]]:
    """Claims until no lookup is ready, or `count` times."""

    def drain(count: int = 10_000) -> list[Lookup]:
        taken: list[Lookup] = []
        while len(taken) < count and (claimed := claim()):
            taken.append(claimed.lookup)
        return taken

    return drain
