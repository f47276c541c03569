"""A tenant that sends one picture again and again, as searches of equal lookups, through `searches.orders.submission`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from accounts import keys
from accounts.models import ApiKey, Mode, Tenant
from providers import registry
from providers.keyring import credentials
from searches import pictures
from searches.models import Image, Search
from searches.orders import submission
from searches.orders.order import LookupOrder, Order
from tests.bench.picture import jpeg

SOURCE = "tiktok-creators"
# In one search.
MOST_LOOKUPS = 20


class Submitter:
    def __init__(self, name: str, *, weight: int = 1) -> None:
        self.tenant = Tenant.objects.create(name=name, weight=weight)
        self.key: ApiKey = keys.issue(self.tenant, Mode.LIVE)[0]
        credentials.store(self.tenant, "modash", f"secret-of-{name}")
        self.fit = {"modash": registry.adapter(SOURCE).picture_limits}
        self.image: Image | None = None

    def submit(self, *, limits: Sequence[int] = (20,), priority: int = 0, key: ApiKey | None = None) -> Search:
        """`limits`: of each lookup."""
        lookups = [LookupOrder(source=SOURCE, parameters={}, limit=limit) for limit in limits]
        order = Order(lookups=lookups, priority=priority, max_age=0)
        with self._picture() as picture:
            search = submission.submit(key or self.key, order, picture).search
        self.image = search.image
        return search

    def submit_many(self, lookups: int, *, keys: Sequence[ApiKey] = ()) -> None:
        """Submits searches as large as they may be, from each of the API keys in turn."""
        for number, start in enumerate(range(0, lookups, MOST_LOOKUPS)):
            size = min(MOST_LOOKUPS, lookups - start)
            self.submit(limits=[20] * size, key=keys[number % len(keys)] if keys else None)

    @contextmanager
    def _picture(self) -> Iterator[pictures.Draft]:
        if self.image is None:
            with pictures.received(self.key.tenant, jpeg(), fit=self.fit) as picture:
                yield picture
        else:
            with pictures.known(self.image, fit=self.fit) as picture:
                yield picture
