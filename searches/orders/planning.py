"""Plans the lookups of an order by their quotes, or rejects it. Prices, pages and their size are frozen here.

A submit writes the plan and holds what it can cost; a quote only shows both.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from math import ceil

from uuid_utils.compat import uuid7

from accounts.models import ApiKey, Mode
from billing.models import Price
from billing.price_defaults import PriceMissing
from providers import registry
from providers.contract import PictureLimits
from providers.keyring import advice
from providers.models import Credential, Policy
from searches.coalescing import keys
from searches.lanes import credential_gate, directory, queue
from searches.models import Lookup, QueueState, Repeat
from searches.orders import quotes
from searches.orders.order import (
    BadOffset,
    CredentialMissing,
    LookupOrder,
    Order,
    Rejected,
    UnknownCredential,
    WrongOrder,
)
from searches.orders.quotes import Quote


@dataclass(frozen=True, kw_only=True)
class Pages:
    """The pages of one lookup, a call each: `count` of them, with `size` results each, from page `first` on."""

    count: int
    size: int
    first: int


@dataclass(frozen=True, kw_only=True)
class OrderPlan:
    """An order's lookups as a submit writes them, but for their search.

    Their lanes need not be written yet; each has the policy in force. `unpriced`: the sources that have no price. `max_age`: the
    age in seconds that an equal lookup's answer may have.
    """

    lookups: Sequence[Lookup]
    unpriced: Sequence[str]
    max_age: int

    @property
    def price_missing(self) -> PriceMissing | None:
        return PriceMissing(self.unpriced[0]) if self.unpriced else None

    @property
    def misses(self) -> list[Lookup]:
        """The lookups that ask their provider, once `matching` has marked the repeats."""
        return [lookup for lookup in self.lookups if lookup.repeat == Repeat.MISS]

    def identify(self, *, pixels: str, crop: str) -> None:
        """Gives each lookup the key that it shares with those that ask the same of the same pixels."""
        for lookup in self.lookups:
            lookup.repeat_key = keys.key_of(lookup, pixels=pixels, crop=crop)


def picture_limits(sources: Iterable[str]) -> dict[str, PictureLimits]:
    """Returns what the pictures of these sources may be, by provider."""
    adapters = [registry.adapter(source) for source in sources]
    return {adapter.provider: adapter.picture_limits for adapter in adapters}


def quotes_for(api_key: ApiKey, lookups: Sequence[LookupOrder]) -> list[Quote]:
    return quotes.of(api_key, ((wanted.source, wanted.credential) for wanted in lookups))


def rejections(api_key: ApiKey, lookups: Sequence[LookupOrder], quoted: Sequence[Quote]) -> Iterator[Rejected]:
    """Yields all that is wrong with the pages and the named credentials of these lookups."""
    for index, (wanted, quote) in enumerate(zip(lookups, quoted, strict=True)):
        try:
            _pages(wanted, index, quote.policy)
        except BadOffset as error:
            yield error
        if wanted.credential is not None and quote.credential is None:
            provider = registry.adapter(wanted.source).provider
            yield UnknownCredential(index, advice.why_unknown(api_key.tenant_id, provider, wanted.credential))


def plan(api_key: ApiKey, order: Order) -> OrderPlan:
    """Raises `WrongOrder`, or else `CredentialMissing`."""
    quoted = quotes_for(api_key, order.lookups)
    if wrong := list(rejections(api_key, order.lookups, quoted)):
        raise WrongOrder(wrong)
    return OrderPlan(
        lookups=[_lookup(api_key, order, index, quote) for index, quote in enumerate(quoted)],
        unpriced=[
            wanted.source for wanted, quote in zip(order.lookups, quoted, strict=True) if _price(api_key, quote) is None
        ],
        max_age=api_key.tenant.max_age if order.max_age is None else order.max_age,
    )


def _lookup(api_key: ApiKey, order: Order, index: int, quote: Quote) -> Lookup:
    wanted = order.lookups[index]
    adapter = registry.adapter(wanted.source)
    pages = _pages(wanted, index, quote.policy)
    credential = _credential(api_key, wanted, index, quote.credential)
    price = _price(api_key, quote) or Price()
    fingerprint = credential.fingerprint if credential else ""
    created_at = quote.moment
    return Lookup(
        id=uuid7(),
        tenant_id=api_key.tenant_id,
        ordinal=index,
        source=wanted.source,
        provider=adapter.provider,
        credential=credential,
        names_credential=wanted.credential is not None,
        lane=directory.unsaved_lane(
            quote.policy, mode=api_key.mode, tenant_id=api_key.tenant_id, fingerprint=fingerprint
        ),
        queue_state=QueueState.BLOCKED if credential_gate.must_wait(credential, api_key.mode) else QueueState.READY,
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


def cut(*, limit: int | None, offset: int, largest: int) -> Pages:
    """Cuts `limit` results into the fewest equal pages. Raises `ValueError` on an offset that falls between two of them."""
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
    """Returns the credential that was named, or the default; a test key needs none."""
    if wanted.credential is None and api_key.mode == Mode.TEST:
        return None
    if found is None:
        provider = registry.adapter(wanted.source).provider
        raise CredentialMissing(index, advice.why_no_default(api_key.tenant_id, provider))
    return found


def _price(api_key: ApiKey, quote: Quote) -> Price | None:
    """Returns the price in force, which is 0 for a test key."""
    return Price() if api_key.mode == Mode.TEST else quote.price
