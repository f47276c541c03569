"""Quotes a search: what its submit would hold and answer, while nothing is written and no row is locked.

The rules are the submit's own: the plan of the lookups (`planning`), their repeats (`matching`), their holds (`holds`), the
limits (`billing.caps`), the bounds of a tenant and the estimates. The transaction is read-only: the database refuses a write.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from django.db import connection, transaction

from accounts.models import ApiKey, Mode
from billing import caps
from billing.caps import Limit, LimitReached, Spender
from billing.ledger import ZERO
from billing.price_defaults import PriceMissing
from searches.coalescing import matching
from searches.lanes import backlog, estimates
from searches.lanes.estimates import Forecast
from searches.lifecycle import holds, stored_searches
from searches.models import Lookup, QueueState, Repeat
from searches.orders import planning
from searches.orders.order import Order
from searches.orders.planning import OrderPlan
from searches.pictures import Preview


@dataclass(frozen=True, kw_only=True)
class SearchQuote:
    """The lookups that a submit would write, and what would become of it.

    `held`: the credits that it would hold, by the lookups' references. `asked` and `limits`: these credits added up, and the
    limits that they would meet, by provider. `refusal`: why the submit would be refused for credits.
    """

    lookups: Sequence[Lookup]
    unpriced: Sequence[str]
    held: Mapping[str, Decimal]
    forecasts: Mapping[UUID, Forecast]
    asked: Mapping[str, Decimal]
    limits: Mapping[str, Sequence[Limit]]
    refusal: PriceMissing | LimitReached | None

    def most_credits(self, lookup: Lookup) -> Decimal | None:
        """Returns the most that a lookup can cost: 0 for a repeat, and None where its source has no price."""
        is_unpriced = lookup.source in self.unpriced and lookup.repeat == Repeat.MISS
        return None if is_unpriced else self.held.get(lookup.reference, ZERO)


def of(api_key: ApiKey, order: Order, picture: Preview) -> SearchQuote:
    """Raises what a submit raises, but for `PriceMissing` and `LimitReached`, which the quote tells."""
    plan = planning.plan(api_key, order)
    picture.wait()
    plan.identify(pixels=picture.image.pixels_sha256, crop=picture.crop)
    with read_only():
        matching.match(plan.lookups, max_age=plan.max_age, locking=False)
        held = holds.most_credits(plan.misses)
        asked = _by_provider(plan, held)
        limits = _limits(api_key, order, asked)
        refusal = plan.price_missing or caps.first_reached(limits)
        if refusal is None:
            _check_bounds(api_key, plan, picture)
        return SearchQuote(
            lookups=plan.lookups,
            unpriced=plan.unpriced,
            held=held,
            forecasts=estimates.forecast(plan.lookups),
            asked=asked,
            limits=limits,
            refusal=refusal,
        )


@contextmanager
def read_only() -> Iterator[None]:
    """Runs the block in one transaction in which the database refuses to write."""
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
        yield


def _by_provider(plan: OrderPlan, held: Mapping[str, Decimal]) -> dict[str, Decimal]:
    asked = {lookup.provider: ZERO for lookup in plan.lookups}
    for lookup in plan.lookups:
        asked[lookup.provider] += held.get(lookup.reference, ZERO)
    return asked


def _limits(api_key: ApiKey, order: Order, asked: Mapping[str, Decimal]) -> Mapping[str, Sequence[Limit]]:
    """Returns the limits by provider. None concerns a test key, whose searches cost nothing."""
    if api_key.mode == Mode.TEST:
        return {provider: [] for provider in asked}
    return caps.limits(api_key.tenant_id, asked, Spender(api_key_id=api_key.pk, max_credits=order.max_credits))


def _check_bounds(api_key: ApiKey, plan: OrderPlan, picture: Preview) -> None:
    """Raises `TooManyWaitingLookups`, `TooManySearches` or `TooManyImages`, in a submit's order, which checks credits first."""
    waiting = sum(lookup.queue_state != QueueState.NONE for lookup in plan.lookups)
    if waiting:
        backlog.check_for(api_key.tenant, more=waiting)
    stored_searches.check(api_key.tenant)
    picture.check_room()
