"""Retries a search: asks its failed lookups once more, in a new search that names the first.

The retry is submitted like any other order, at the prices, caps and bounds of now. Lookups that were canceled or expired are no
part of it, and neither are those that have not ended. The whole lookup is asked again, pages that it has got already too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from decimal import Decimal

from django.db.models import QuerySet

from accounts.models import ApiKey
from searches import pictures
from searches.models import Lookup, Search, Status
from searches.orders import planning, submission
from searches.orders.order import LookupOrder, Order
from searches.orders.submission import Submission


class NothingFailed(Exception):
    """The search has no failed lookup."""


class Erased(Exception):
    """The search was erased meanwhile."""


class PictureErased(Exception):
    """The picture of the search was erased, by its retention."""


def retry(api_key: ApiKey, first: Search, *, written: Callable[[Search], object] = lambda search: None) -> Submission:
    """Submits the failed lookups of a search. `written`: as `submission.submit` takes it.

    Raises `NothingFailed`, `Erased`, `PictureErased`, or what a submit raises.
    """
    failed = list(_failed(first))
    if not failed:
        raise NothingFailed if Search.objects.filter(pk=first.pk, erased_at=None).exists() else Erased
    order = order_of(first, failed)
    if first.image is None:
        raise PictureErased
    fit = planning.picture_limits(lookup.source for lookup in order.lookups)
    with pictures.known(first.image, fit=fit, crop=order.crop) as picture:
        return submission.submit(api_key, order, picture, written=written)


def _failed(first: Search) -> QuerySet[Lookup]:
    """Returns the failed lookups, unless the search was erased: their parameters are gone then, in the same transaction."""
    return Lookup.objects.filter(search=first, search__erased_at=None, status=Status.FAILED).order_by("ordinal")


def order_of(first: Search, lookups: Sequence[Lookup]) -> Order:
    """Returns the order of a search again, for some of its lookups."""
    return Order(
        lookups=[_lookup(lookup) for lookup in lookups],
        crop=first.crop,
        priority=first.priority,
        expires_in=round((first.expires_at - first.created_at).total_seconds()),
        max_age=first.max_age,
        metadata=first.metadata,
        max_credits={provider: Decimal(most) for provider, most in first.max_credits.items()},
        retry_of=first.pk,
    )


def _lookup(lookup: Lookup) -> LookupOrder:
    """Returns one lookup's order. A named credential that was deleted since is replaced by the tenant's default."""
    is_named = lookup.names_credential and lookup.credential_id is not None
    return LookupOrder(
        source=lookup.source,
        parameters=lookup.parameters,
        limit=lookup.limit,
        offset=lookup.first_page * lookup.page_size,
        credential=str(lookup.credential_id) if is_named else None,
    )
