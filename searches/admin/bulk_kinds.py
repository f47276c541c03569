"""The bulk acts on searches and lookups: cancel, retry, erase. Each is done by the function that owns it, one row at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.db import transaction
from django.db.models import F, QuerySet, Sum
from django.db.models.functions import Now

from accounts.bulk_acts.kinds import BulkKind, Failed, Skipped, Written
from accounts.models import Mode
from billing.models import Hold, Price
from billing.serializers import credits_text
from searches.admin import retrying
from searches.models import Lookup, Search, Status
from searches.orders import recall

ENDED = "It had ended."
ERASED = "It was erased before."


def cancel_search(search: Search, written: Written) -> None:
    with transaction.atomic():
        if not recall.cancel(search):
            raise Skipped(ENDED)
        written()


def cancel_lookup(lookup: Lookup, written: Written) -> None:
    with transaction.atomic():
        if not recall.cancel_lookup(lookup):
            raise Skipped(ENDED)
        written()


def erase_search(search: Search, written: Written) -> None:
    with transaction.atomic():
        if not recall.erase(search):
            raise Skipped(ERASED)
        written()


def retry_search(search: Search, written: Written) -> None:
    try:
        retrying.retry(search, written=lambda new: written())
    except retrying.NothingToRetry as nothing:
        raise Skipped(str(nothing)) from None
    except retrying.RetryRefused as refused:
        raise Failed(str(refused)) from None


def held_for_lookups(rows: QuerySet[Any]) -> list[str]:
    return [_held(Lookup.objects.filter(pk__in=rows))]


def held_for_searches(rows: QuerySet[Any]) -> list[str]:
    return [_held(Lookup.objects.filter(search__in=rows))]


def _held(lookups: QuerySet[Lookup]) -> str:
    """Returns the credits that are held for the lookups that have not ended, in a sentence."""
    open_ones = lookups.filter(status__in=Lookup.OPEN).values_list("pk", flat=True)
    holds = Hold.objects.filter(reference__in=[f"lookup:{pk}" for pk in open_ones])
    by_provider = dict(holds.values_list("account__provider").annotate(credits=Sum("open")).order_by())
    if not by_provider:
        return "No credits are held for them."
    return f"It frees what is held for them: {_amounts(by_provider)}."


def worst_cost(rows: QuerySet[Any]) -> list[str]:
    """Returns the most that retrying the failed lookups of the searches can cost at the prices of now, in a sentence."""
    failed = Lookup.objects.filter(search__in=rows, status=Status.FAILED, search__mode=Mode.LIVE)
    most_results = Sum(F("pages") * F("page_size"))
    sums = failed.values_list("source", "provider").annotate(most_calls=Sum("pages"), most_results=most_results)
    prices = {
        price.source: price
        for price in Price.objects.filter(valid_from__lte=Now()).order_by("source", "-valid_from").distinct("source")
    }
    most: defaultdict[str, Decimal] = defaultdict(Decimal)
    for source, provider, calls, results in sums.order_by():
        if source in prices:
            most[provider] += calls * prices[source].per_call + results * prices[source].per_result
    costs = f"At most it costs {_amounts(most)}." if any(most.values()) else "It costs nothing."
    return [costs, "Caps, budgets and balances hold as for any submit; a search that they refuse counts as failed."]


def _amounts(by_provider: Mapping[str, Decimal]) -> str:
    return ", ".join(f"{credits_text(most)} credits of {name}" for name, most in sorted(by_provider.items()))


CANCEL_SEARCHES = BulkKind(
    name="cancel",
    label="Cancel all that match",
    icon="cancel",
    text="Cancels every search that matches. Waiting lookups end at no cost. A call that was sent is finished, charged and kept.",
    button="Cancel the searches",
    permission="searches.change_search",
    act=cancel_search,
    weigh=held_for_searches,
)
RETRY_SEARCHES = BulkKind(
    name="retry",
    label="Retry all that match",
    icon="refresh",
    text="Asks the failed lookups of every search that matches once more, each in a new search of its tenant.",
    button="Retry the searches",
    permission="searches.change_search",
    act=retry_search,
    weigh=worst_cost,
)
ERASE_SEARCHES = BulkKind(
    name="erase",
    label="Erase all that match",
    icon="delete_forever",
    text="Cancels and erases every search that matches, for good: parameters, results, and pictures that no other search uses. "
    "Their tenants no longer see them. The ledger keeps their costs.",
    button="Erase the searches",
    permission="searches.delete_search",
    act=erase_search,
    weigh=held_for_searches,
)
CANCEL_LOOKUPS = BulkKind(
    name="cancel",
    label="Cancel all that match",
    icon="cancel",
    text="Cancels every lookup that matches. Waiting ones end at no cost. A call that was sent is finished, charged and kept. "
    "Other lookups of their searches go on.",
    button="Cancel the lookups",
    permission="searches.change_search",
    act=cancel_lookup,
    weigh=held_for_lookups,
)
