"""Takes an order in: one transaction writes the search, its lookups, their position in line and the credits held for them,
or none of it. What was asked is checked before a credit is held, and frozen: prices, pages and their size.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from math import ceil
from typing import Any, Protocol

from django.db import transaction
from uuid_utils.compat import uuid7

from accounts.models import ApiKey, Mode
from billing import ledger, prices
from billing.models import Price
from providers import policies, registry
from providers.keyring import advice
from providers.models import Credential, Policy
from searches.coalescing import keys, matching
from searches.lanes import backlog, credential_gate, queue, wakeups
from searches.models import Image, Lane, Lookup, Repeat, Search, Standing
from searches.orders import quotes
from searches.orders.quotes import Terms


class Picture(Protocol):
    """A picture that is being read and its files written; `save` names it by a row, before any other row is locked, and
    `hold` sees to it that it stays, last. Once it has waited, `crop` is the order's in whole pixels, and `pixels_sha256`
    says what was decoded.
    """

    @property
    def pixels_sha256(self) -> str: ...

    @property
    def crop(self) -> str: ...

    def wait(self) -> None: ...

    def save(self) -> Image: ...

    def hold(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class LookupOrder:
    """One source's part of an order. `credential`: an id or a label; None for the tenant's default."""

    source: str
    parameters: dict[str, Any]
    limit: int | None = None
    offset: int = 0
    credential: str | None = None


@dataclass(frozen=True, kw_only=True)
class Order:
    """`crop`: a `Crop` as text, empty for the whole picture. `expires_in`: seconds. `max_age`: how old an answer to an equal
    lookup may be, in seconds; None for the tenant's own setting, 0: the provider is asked.
    """

    lookups: Sequence[LookupOrder]
    crop: str = ""
    priority: int = 0
    expires_in: int = 86_400
    max_age: int | None = None
    metadata: dict[str, str] = field(default_factory=dict)


class Rejected(Exception):
    """What is wrong with the order's lookup number `index`."""

    def __init__(self, index: int, detail: str) -> None:
        super().__init__(detail)
        self.index = index
        self.detail = detail


class WrongOrder(Exception):
    """All that the order's lookups have wrong: names of credentials that are not there, offsets between two pages."""

    def __init__(self, rejections: Sequence[Rejected]) -> None:
        super().__init__(" ".join(rejection.detail for rejection in rejections))
        self.rejections = rejections


class CredentialMissing(Rejected):
    """The tenant has stored no key for the provider."""


class UnknownCredential(Rejected):
    """The order names a credential that is not there."""


class BadOffset(Rejected):
    """The offset falls between two pages, or the order reaches past what the source gives."""


@dataclass(frozen=True, kw_only=True)
class Pages:
    """How a lookup is cut into calls: `count` of them, `size` results each, from number `first` on."""

    count: int
    size: int
    first: int


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A lookup as it will be written, and what is held for it: nothing for a test key's."""

    lookup: Lookup
    lane: Lane
    policy: Policy
    demands: Sequence[ledger.Demand]


@dataclass(frozen=True, kw_only=True)
class Submission:
    """What was written. `held`: by the lookups' references. `ended`: whether an earlier answer ended some of them since."""

    search: Search
    lookups: Sequence[Lookup]
    held: Mapping[str, Decimal]
    ended: bool


def submit(api_key: ApiKey, order: Order, picture: Picture) -> Submission:
    """Raises `WrongOrder`, `CredentialMissing`, `prices.PriceMissing`, `ledger.InsufficientCredits`,
    `backlog.TooManyWaitingLookups`, or what the picture raises, and then leaves nothing behind.
    """
    found = _terms(api_key, order.lookups)
    if rejections := list(_rejections(api_key, order.lookups, found)):
        raise WrongOrder(rejections)
    created_at = found[0].moment
    plans = [_plan(api_key, order, index, now, created_at) for index, now in enumerate(found)]
    lookups = [plan.lookup for plan in plans]
    max_age = api_key.tenant.max_age if order.max_age is None else order.max_age
    picture.wait()
    for lookup in lookups:
        lookup.repeat_key = keys.key_of(lookup, pixels=picture.pixels_sha256, crop=picture.crop)
    queue.open_lanes(plan.lane for plan in plans)
    with transaction.atomic():
        hits = matching.match(lookups, max_age=max_age) if max_age else []
        search = Search.objects.create(
            id=uuid7(),
            tenant=api_key.tenant,
            api_key=api_key,
            mode=api_key.mode,
            image=picture.save(),
            crop=picture.crop,
            priority=order.priority,
            metadata=order.metadata,
            created_at=created_at,
            expires_at=created_at + timedelta(seconds=order.expires_in),
        )
        for lookup in lookups:
            lookup.search = search
        Lookup.objects.bulk_create(lookups)
        for hit in hits:
            matching.answer(hit)
        asking = [plan for plan in plans if plan.lookup.repeat == Repeat.MISS]
        ready = [plan for plan in asking if plan.lookup.standing == Standing.READY]
        followers = [lookup for lookup in lookups if lookup.standing == Standing.RIDING]
        if followers:
            # Leaders and new lookups, in one order.
            leaders = [lookup.repeat_of_id for lookup in followers if lookup.repeat_of_id]
            queue.lock_tenant_queues([*leaders, *(plan.lookup.pk for plan in ready)])
        _join(ready)
        matching.attach(followers)
        demands = [demand for plan in asking for demand in plan.demands]
        ledger.hold(demands)
        if any(lookup.standing != Standing.OUT for lookup in lookups):
            backlog.check(api_key.tenant)
        picture.hold()
        transaction.on_commit(lambda: _wake_up(asking))
    held = {demand.reference: demand.amount for demand in demands}
    return Submission(search=search, lookups=lookups, held=held, ended=bool(hits))


def _join(ready: Sequence[Plan]) -> None:
    """Lane by lane, in the order of their names."""
    by_lane = sorted(ready, key=lambda plan: plan.lane.name)
    for _, group in groupby(by_lane, key=lambda plan: plan.lane.name):
        plans = list(group)
        pending_calls = sum(plan.lookup.calls_left for plan in plans)
        queue.join(plans[0].lane, plans[0].lookup.tenant_id, lookups=len(plans), pending_calls=pending_calls)


def cut(*, limit: int | None, offset: int, largest: int) -> Pages:
    """Equal pages, the fewest that reach `limit`. Raises ValueError on an offset that falls between two of them."""
    if limit is None:
        return Pages(count=1, size=largest, first=0)
    count = ceil(limit / largest)
    size = ceil(limit / count)
    if offset % size:
        below = offset - offset % size
        raise ValueError(
            f"With limit {limit} a page has {size} results; offset must be a multiple of that: {below} or {below + size}."
        )
    return Pages(count=count, size=size, first=offset // size)


def rejections(api_key: ApiKey, lookups: Sequence[LookupOrder]) -> list[Rejected]:
    """Returns what `WrongOrder` would say of these lookups, of which nothing else needs to be right."""
    return list(_rejections(api_key, lookups, _terms(api_key, lookups)))


def _terms(api_key: ApiKey, lookups: Sequence[LookupOrder]) -> list[Terms]:
    return quotes.of(api_key.tenant_id, [(wanted.source, wanted.credential) for wanted in lookups])


def _rejections(api_key: ApiKey, lookups: Sequence[LookupOrder], found: Sequence[Terms]) -> Iterator[Rejected]:
    for index, (wanted, now) in enumerate(zip(lookups, found, strict=True)):
        try:
            _pages(wanted, index, _policy(api_key, wanted, now))
        except BadOffset as error:
            yield error
        if wanted.credential is not None and now.credential is None:
            provider = registry.adapter(wanted.source).provider
            yield UnknownCredential(index, advice.why_unknown(api_key.tenant_id, provider, wanted.credential))


def _plan(api_key: ApiKey, order: Order, index: int, now: Terms, created_at: datetime) -> Plan:
    wanted = order.lookups[index]
    adapter = registry.adapter(wanted.source)
    policy = _policy(api_key, wanted, now)
    pages = _pages(wanted, index, policy)
    credential = _credential(api_key, wanted, index, now.credential)
    price = _price(api_key, wanted, now.price)
    lane = queue.lane_for(
        policy,
        mode=api_key.mode,
        tenant_id=api_key.tenant_id,
        fingerprint=credential.fingerprint if credential else "",
    )
    lookup = Lookup(
        id=uuid7(),
        tenant_id=api_key.tenant_id,
        ordinal=index,
        source=wanted.source,
        provider=adapter.provider,
        credential=credential,
        lane=lane,
        standing=Standing.PARKED if credential_gate.must_wait(credential, api_key.mode) else Standing.READY,
        sort_key=queue.sort_key(priority=order.priority, created_at=created_at) + index,
        expires_at=created_at + timedelta(seconds=order.expires_in),
        parameters=wanted.parameters,
        effective_parameters=adapter.effective(wanted.parameters),
        limit=wanted.limit,
        first_page=pages.first,
        page_size=pages.size,
        pages=pages.count,
        price_per_call=price.per_call,
        price_per_result=price.per_result,
        created_at=created_at,
    )
    demands = []
    if api_key.mode == Mode.LIVE:
        demands.append(
            ledger.Demand(
                reference=lookup.reference,
                tenant_id=api_key.tenant_id,
                provider=adapter.provider,
                amount=lookup.most_credits,
            )
        )
    return Plan(lookup=lookup, lane=lane, policy=policy, demands=demands)


def _policy(api_key: ApiKey, wanted: LookupOrder, now: Terms) -> Policy:
    return policies.in_force(now.policy or policies.of(registry.adapter(wanted.source).provider), api_key.mode)


def _pages(wanted: LookupOrder, index: int, policy: Policy) -> Pages:
    adapter = registry.adapter(wanted.source)
    # A source without pages is asked once, for all that is wanted.
    largest = policy.page_size if adapter.paged else wanted.limit or policy.page_size
    try:
        pages = cut(limit=wanted.limit, offset=wanted.offset, largest=largest)
    except ValueError as error:
        raise BadOffset(index, str(error)) from None
    most = adapter.max_results
    if most is not None and (pages.first + pages.count) * pages.size > most:
        raise BadOffset(index, f"The source gives its first {most} results; ask for fewer, or from further ahead.")
    return pages


def _credential(api_key: ApiKey, wanted: LookupOrder, index: int, found: Credential | None) -> Credential | None:
    """The one that was named, or the default; a test key needs none."""
    if wanted.credential is None and api_key.mode == Mode.TEST:
        return None
    if found is None:
        provider = registry.adapter(wanted.source).provider
        raise CredentialMissing(index, advice.why_no_default(api_key.tenant_id, provider))
    return found


def _price(api_key: ApiKey, wanted: LookupOrder, found: Price | None) -> Price:
    if api_key.mode == Mode.TEST:
        return Price(source=wanted.source)
    if found is None:
        raise prices.PriceMissing(wanted.source)
    return found


def _wake_up(plans: Sequence[Plan]) -> None:
    """As often as a lane got lookups; no more where one is refused, which a Redis that is down takes its time for."""
    for name in {plan.lane.name for plan in plans if plan.lookup.standing == Standing.READY}:
        mine = [plan for plan in plans if plan.lane.name == name]
        all(wakeups.send(plan.lane, plan.policy) for plan in mine)
