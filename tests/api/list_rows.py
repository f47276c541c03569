"""More rows of Alice's for each list, to see what a page of many costs. A list that is added needs an entry, or is in `FIXED`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from rest_framework.test import APIClient
from uuid_utils.compat import uuid7

from accounts import keys
from accounts.models import Endpoint, Mode
from accounts.web.pagination import PageQuery
from accounts.webhooks import endpoints, redelivery
from billing import ledger
from billing.models import Account, Reading, Reconciliation, Usage
from providers.keyring import credentials
from searches.models import Call, Search
from tests.api.examples import add_results
from tests.api.routes import DICTIONARY, OPERATIONS, Operation
from tests.billing.months import end_month

# Lists with as many rows as there are sources or providers, or as a provider returns.
FIXED = {"/v1/sources", "/v1/credits", DICTIONARY}
OF_TRANSACTIONS = ("BEGIN", "COMMIT", "ROLLBACK", "SAVEPOINT", "RELEASE")


def searches(search: Search, count: int) -> None:
    """Adds copies of a search with its lookup."""
    [lookup] = search.lookups.all()
    for _ in range(count):
        search.pk, lookup.pk = uuid7(), uuid7()
        search.save(force_insert=True)
        lookup.search = search
        lookup.save(force_insert=True)


def images(search: Search, count: int) -> None:
    assert search.image is not None
    image = search.image
    for _ in range(count):
        image.pk = uuid7()
        image.sha256, image.file = f"{image.pk.hex:0>64}", f"{image.tenant_id}/{image.pk}.jpg"
        image.save(force_insert=True)


def calls(search: Search, count: int) -> None:
    now = timezone.now()
    one = {"lookup": search.lookups.all()[0], "state": Call.State.ANSWERED, "armed_at": now, "leased_until": now}
    Call.objects.bulk_create(Call(page=page, sent_at=now, finished_at=now, status=200, **one) for page in range(count))


def results(search: Search, count: int) -> None:
    add_results(search, count)


def statements(search: Search, count: int) -> None:
    for _ in range(count):
        end_month(Account.objects.get(tenant=search.tenant))


def entries(search: Search, count: int) -> None:
    for _ in range(count):
        ledger.grant(Account.objects.get(tenant=search.tenant), Decimal(1))


def usage(search: Search, count: int) -> None:
    account, today = Account.objects.get(tenant=search.tenant), timezone.now().date()
    present = Usage.objects.count()
    days = [today - timedelta(days=present + number) for number in range(count)]
    Usage.objects.bulk_create(
        Usage(account=account, day=day, source="tiktok-creators", charged=Decimal(1), charges=1) for day in days
    )


def reconciliations(search: Search, count: int) -> None:
    credential, now = search.lookups.all()[0].credential, timezone.now()
    moments = [{"asked_at": now, "answered_at": now, "credits": Decimal(1)} for _ in range(count + 1)]
    readings = Reading.objects.bulk_create(Reading(credential=credential, **moment) for moment in moments)
    figures = ("counted", "billed", "overbilled", "overlapping", "unknown", "drift")
    own = ("own_billed", "own_overbilled", "own_overlapping", "own_unknown")
    none = dict.fromkeys((*figures, *own), Decimal(0)) | {"calls": 0, "own_calls": 0}
    Reconciliation.objects.bulk_create(
        Reconciliation(
            tenant=search.tenant, provider="modash", credential=credential, opening=opening, closing=closing, **none
        )
        for opening, closing in pairwise(readings)
    )


def api_keys(search: Search, count: int) -> None:
    for _ in range(count):
        keys.issue(search.tenant, Mode.LIVE)


def provider_keys(search: Search, count: int) -> None:
    for number in range(count):
        credentials.store(search.tenant, "modash", f"secret-{number}", label=f"number {count} {number}")


def deliveries(search: Search, count: int) -> None:
    for _ in range(count):
        redelivery.ping(Endpoint.objects.for_tenant(search.tenant).earliest("created_at"))


def webhook_endpoints(search: Search, count: int) -> None:
    for number in range(count):
        endpoints.create(search.tenant, Mode.LIVE, url=f"https://{number}-of-{count}.example.com/")


MORE: dict[str, Callable[[Search, int], None]] = {
    "/v1/api-keys": api_keys,
    "/v1/credentials": provider_keys,
    "/v1/credentials/<id:id>/reconciliations": reconciliations,
    "/v1/credits/entries": entries,
    "/v1/images": images,
    "/v1/searches": searches,
    "/v1/searches/<id:id>/calls": calls,
    "/v1/searches/<id:id>/results": results,
    "/v1/statements": statements,
    "/v1/usage": usage,
    "/v1/webhook-deliveries": deliveries,
    "/v1/webhook-endpoints": webhook_endpoints,
}


def lists() -> list[Operation]:
    """Returns the operations that answer pages."""
    pages = [one for one in OPERATIONS if one.method == "GET" and issubclass(one.view.query_class, PageQuery)]
    return [operation for operation in pages if operation.route not in FIXED]


def add(operation: Operation, search: Search, count: int) -> None:
    assert operation.route in MORE, f"{operation.route}: tell tests/api/list_rows.py, in MORE, how to add rows."
    search.tenant.most_endpoints = search.tenant.most_api_keys = search.tenant.most_credentials = 1000
    search.tenant.save()
    MORE[operation.route](Search.objects.get(pk=search.pk), count)


def queries_of(client: APIClient, path: str) -> tuple[int, int]:
    """Returns how many queries a page of at most 100 rows took, and its rows."""
    with CaptureQueriesContext(connection) as captured:
        response = client.get(path, {"limit": 100})
    assert response.status_code == 200, response.content
    return count_of(captured), len(response.json()["data"])


def count_of(captured: CaptureQueriesContext) -> int:
    """Counts the queries, without those that begin and end transactions."""
    return sum(not query["sql"].lstrip().startswith(OF_TRANSACTIONS) for query in captured)
