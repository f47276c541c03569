"""Retries a search for an operator, under the API key that submitted it, as its tenant could. Each refusal is a sentence."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from billing.caps import LimitReached
from billing.price_defaults import PriceMissing
from searches import pictures
from searches.lanes import backlog
from searches.lifecycle import stored_searches
from searches.models import Search
from searches.orders import retries
from searches.orders.order import CredentialMissing, WrongOrder
from searches.orders.submission import Submission

PICTURE_ERASED = "Its picture was erased when its retention was over."
NOTHING: Mapping[type[Exception], str] = {
    retries.NothingFailed: "No lookup of it has failed.",
    retries.Erased: "It was erased.",
    retries.PictureErased: PICTURE_ERASED,
    pictures.Deleted: PICTURE_ERASED,
}
# These say themselves what was reached or wrong.
REFUSALS = (
    *(LimitReached, WrongOrder, backlog.TooManyWaitingLookups),
    *(stored_searches.TooManySearches, pictures.TooManyImages),
)
NO_KEY = "Its API key was deleted."
KEY_IS = "Its API key is {}."
SUSPENDED = "Its tenant is suspended."
PRICE_MISSING = "{} has no price."


class NothingToRetry(Exception):
    """There is nothing to retry, or nobody for whom. The message says why."""


class RetryRefused(Exception):
    """A submit was refused, as the tenant's own would be. The message says why."""


def retry(search: Search, *, written: Callable[[Search], object]) -> Submission:
    """Submits the failed lookups of a search once more. `written` is called last in its transaction. Raises `NothingToRetry` or
    `RetryRefused`.
    """
    key = search.api_key
    if key is None:
        raise NothingToRetry(NO_KEY)
    if key.state != "valid":
        raise NothingToRetry(KEY_IS.format(key.state))
    if search.tenant.suspended_at is not None:
        raise NothingToRetry(SUSPENDED)
    with _refusals_in_words():
        return retries.retry(key, search, written=written)


@contextmanager
def _refusals_in_words() -> Iterator[None]:
    try:
        yield
    except tuple(NOTHING) as error:
        raise NothingToRetry(NOTHING[type(error)]) from None
    except PriceMissing as error:
        raise RetryRefused(PRICE_MISSING.format(error.source)) from None
    except (CredentialMissing, pictures.Busy, pictures.BadPicture) as error:
        raise RetryRefused(error.detail) from None
    except REFUSALS as error:
        raise RetryRefused(str(error)) from None
