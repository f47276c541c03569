"""The tenants of the seed, with their keys, endpoints and accounts, and the lanes that all share."""

from __future__ import annotations

import hashlib
import random
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from accounts import vault
from accounts.models import ApiKey, Endpoint, Mode, Tenant
from billing.models import KeyCap, TenantCap
from providers import policies, registry
from providers.models import Credential
from searches.lanes import directory, queue
from searches.models import SearchUsage, TenantQueue
from tests.seed.books import CREDIT, Books, Ledger, credits
from tests.seed.copying import Table, id_at

NAMES = ("Alder", "Birch", "Cedar", "Dogwood", "Elm", "Fir", "Ginkgo", "Hazel", "Ivy", "Juniper")
# One tenant in so many.
PREPAID, CAPPED, SUSPENDED, DEAD, DISABLED, FAILING = 10, 10, 500, 100, 40, 30
NOBODY = UUID(int=0)
GRANT = 1_000_000 * CREDIT


@dataclass(kw_only=True)
class Owner:
    """A tenant, with what its searches need. `ready` and `calls`: what waits in each lane."""

    id: str
    key: str
    credentials: dict[str, str]
    blocked: bool
    endpoint: str
    endpoint_works: bool
    books: dict[str, Books]
    images: list[str] = field(default_factory=list)
    searches: int = 0
    ready: dict[str, int] = field(default_factory=dict)


class Tenants:
    """Makes tenants, and at the end what depends on what they did."""

    def __init__(self, ledger: Ledger, chance: random.Random) -> None:
        self.ledger, self.chance = ledger, chance
        self.owners: list[Owner] = []
        self.lanes = {
            provider: directory.lane_of(policies.of(provider), mode=Mode.LIVE, tenant_id=NOBODY).pk
            for provider in registry.PROVIDERS
        }
        self.tenants = Table(Tenant, "id", "name", "weight", "suspended_at", "created_at")
        self.keys = Table(ApiKey, "id", "tenant_id", "label", "mode", "prefix", "digest", "created_at", "last_used_at")
        self.credentials = Table(
            Credential,
            *("id", "tenant_id", "provider", "label", "sealed", "fingerprint", "state", "check_problem"),
            *("state_changed_at", "created_at", "updated_at"),
        )
        self.endpoints = Table(
            Endpoint,
            *("id", "tenant_id", "mode", "url", "target", "enabled", "disabled_reason", "failing_since", "sealed"),
            *("slow", "created_at", "updated_at"),
        )
        self.caps = Table(TenantCap, "tenant_id", "provider", "amount")
        self.key_caps = Table(KeyCap, "api_key_id", "provider", "amount")

    def make(self, count: int, *, first: int, at: datetime) -> None:
        """Makes tenants with the numbers from `first` on."""
        for number in range(first, first + count):
            self.owners.append(self._tenant(number, at + timedelta(seconds=number)))
        for table in (self.tenants, self.keys, self.credentials, self.endpoints, self.caps, self.key_caps):
            table.send()

    def _tenant(self, number: int, at: datetime) -> Owner:
        id = id_at(at, self.chance)
        suspended_at = at if number % SUSPENDED == SUSPENDED - 1 else None
        self.tenants.add(id, f"{NAMES[number % 10]} {number}", 1 + (number % 7 == 0), suspended_at, at)
        blocked = number % DEAD == DEAD - 1
        books = {
            provider: self.ledger.open(id, provider, at=at, granted=GRANT if number % PREPAID == 0 else 0)
            for provider in registry.PROVIDERS
        }
        key = self._key(id, Mode.LIVE, at)
        self._key(id, Mode.TEST, at)
        if number % CAPPED == 0:
            self.caps.add(id, "modash", credits(GRANT))
            self.key_caps.add(key, "modash", credits(GRANT))
        endpoint, works = self._endpoint(id, number, at)
        keys = {provider: self._credential(id, provider, at, dead=blocked) for provider in registry.PROVIDERS}
        return Owner(
            id=id, key=key, credentials=keys, blocked=blocked, endpoint=endpoint, endpoint_works=works, books=books
        )

    def _key(self, tenant: str, mode: str, at: datetime) -> str:
        id = id_at(at, self.chance)
        digest = hashlib.sha256(id.encode()).hexdigest()
        self.keys.add(id, tenant, "shop", mode, f"sl_{mode}_{digest[:6]}", digest, at, at)
        return id

    def _credential(self, tenant: str, provider: str, at: datetime, *, dead: bool) -> str:
        id = id_at(at, self.chance)
        secret = f"key-of-{id}"
        state = ("invalid", "The provider refuses it.") if dead else ("verified", "")
        sealed = vault.seal(secret, associated=f"{tenant}:{provider}")
        self.credentials.add(id, tenant, provider, "default", sealed, vault.fingerprint(secret), *state, at, at, at)
        return id

    def _endpoint(self, tenant: str, number: int, at: datetime) -> tuple[str, bool]:
        id, host = id_at(at, self.chance), f"shop-{number}.example"
        disabled, failing = number % DISABLED == DISABLED - 1, number % FAILING == FAILING - 1
        why = "Every delivery failed for five days." if disabled else ""
        sealed = vault.seal("whsec_AAAA", associated=f"endpoint:{id}")
        since = at if failing and not disabled else None
        self.endpoints.add(
            id, tenant, Mode.LIVE, f"https://{host}/hooks", host, not disabled, why, since, sealed, failing, at, at
        )
        return id, not (disabled or failing)

    def close(self) -> None:
        """Writes how many searches each tenant has, and what waits in its queues."""
        usage = Table(SearchUsage, "tenant_id", "searches")
        queues = Table(TenantQueue, "lane_id", "tenant_id", "virtual_time", "ready", "pending_calls")
        for owner in self.owners:
            usage.add(owner.id, owner.searches)
            for lane in self.lanes.values():
                ready = owner.ready.get(lane, 0)
                queues.add(lane, owner.id, self.chance.randrange(queue.STEP), ready, ready)
        usage.send()
        queues.send()
