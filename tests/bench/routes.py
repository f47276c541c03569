"""Prints how many queries each route of the API takes; of lists, with 1 row and with 100."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from django.db import connection, transaction
from django.test.utils import CaptureQueriesContext
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import Mode, Tenant
from providers.keyring import credentials
from searches.models import Search
from tests.api import list_rows
from tests.api.routes import OPERATIONS, Operation, belongings, path_to
from tests.bench import limits
from tests.bench.limits import prepare
from tests.bench.system import Provider

ROWS = 100


def measure(folder: Path, provider: Provider, words: Sequence[str]) -> None:
    prepare(provider, limits.OUT_OF_THE_WAY, latency_ms=0)
    # Some routes answer that nobody listens at the provider's address, or that there is nothing to do.
    logging.getLogger("django.request").setLevel(logging.CRITICAL)
    tenant = Tenant.objects.create(name="owner", requests_per_second=10_000)
    credentials.store(tenant, "modash", "secret-of-owner")
    api = APIClient(headers={"Authorization": f"Bearer {keys.issue(tenant, Mode.LIVE)[1]}", "Host": "localhost"})
    search = belongings(api)
    print(
        f"\nQueries of each route, without those that begin and end transactions; of lists with 1 row and with {ROWS}\n"
    )
    grown = []
    for operation in list_rows.lists():
        few, many = _of_list(api, operation, search)
        print(f"{operation!s:<60} {few:3} {many:3}", flush=True)
        if many > few:
            grown.append(str(operation))
    print(f"\nLists that take more with more rows: {', '.join(grown) or 'none'}\n")
    for operation in OPERATIONS:
        if operation not in list_rows.lists():
            status, count = _of_one(api, operation, search)
            print(f"{operation!s:<60} {count:3} {status if status >= 300 else ''}", flush=True)


def _of_list(api: APIClient, operation: Operation, search: Search) -> tuple[int, int]:
    path = path_to(operation.route, search)
    with transaction.atomic():
        list_rows.add(operation, search, 1)
        few, _ = list_rows.queries_of(api, path)
        list_rows.add(operation, search, ROWS - 1)
        many, _ = list_rows.queries_of(api, path)
        transaction.set_rollback(True)
    return few, many


def _of_one(api: APIClient, operation: Operation, search: Search) -> tuple[int, int]:
    """Returns the status of the answer, and how many queries it took. Nothing of it is kept."""
    with transaction.atomic(), CaptureQueriesContext(connection) as captured:
        response = operation.ask(api, path_to(operation.route, search))
        transaction.set_rollback(True)
    return response.status_code, list_rows.count_of(captured)
