"""Measures the operators' pages on a seeded database: every list, with every filter and search, and pages of rows.

`SEARCHES=20000 python -m tests.bench admin` shortens a run to try it. A page is measured as the server makes it: from the request
to the last byte, in this process, all queries included. The seeded rows are removed at the end.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from django import forms
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.db import connection
from django.db.models import Model
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Tenant, User
from searches.models import Call, Image, Search
from tests.bench.system import Provider
from tests.seed import filling

SEARCHES = int(os.environ.get("SEARCHES") or filling.SEARCHES)
TIMES = int(os.environ.get("TIMES") or 20)
LIMIT_MS = 500
ROWS_MEASURED = 10
EMPTY = "DROP SCHEMA public CASCADE; CREATE SCHEMA public"


def measure(folder: Path, provider: Provider, words: Sequence[str]) -> None:
    began = time.monotonic()
    filling.fill(SEARCHES)
    print(f"\nThe operators' pages, with {SEARCHES:,} searches that took {time.monotonic() - began:.0f} s to seed")
    print(f"{_bytes() / 1e9:.1f} GB in PostgreSQL; each page {TIMES} times\n")
    operator = User.objects.create(username="bench", is_staff=True, is_superuser=True)
    client = Client(headers={"host": "localhost"})
    client.force_login(operator)
    slow = []
    print(f"{'page':<78} {'median':>8} {'95 %':>8} {'queries':>8}")
    for name, addresses in pages():
        if all(word in name for word in words):
            took, queries = _measured(client, addresses)
            print(f"{name:<78} {statistics.median(took):6.0f}ms {_most(took):6.0f}ms {queries:8}", flush=True)
            slow += [name] if _most(took) > LIMIT_MS else []
    print(f"\nAbove {LIMIT_MS} ms: {', '.join(slow) or 'none'}")
    if not os.environ.get("KEEP"):
        with connection.cursor() as cursor:
            cursor.execute(EMPTY)


def pages() -> Iterator[tuple[str, list[str]]]:
    """Yields what is measured: a name, and addresses to ask for in turn."""
    yield "first page", [reverse("admin:index")]
    for model in admin.site._registry:
        yield from _of_model(model)
    yield from _finds()


def _of_model(model: type[Model]) -> Iterator[tuple[str, list[str]]]:
    label, path = model._meta.label, _path(model, "changelist")
    yield f"{label}: list", [path]
    rows = list(_some(model))
    if not rows:
        return
    yield f"{label}: a page in the middle", [f"{path}?{urlencode({'behind': quote(_middle(rows))})}"]
    yield f"{label}: looked for by id", [f"{path}?{urlencode({'q': str(row.pk)})}" for row in rows]
    yield f"{label}: looked for by a name", [f"{path}?{urlencode({'q': f'Cedar {n}'})}" for n in (2, 32, 1002, 9992)]
    yield f"{label}: looked for in vain", [f"{path}?{urlencode({'q': 'nobody is called this'})}"]
    for query in _filters(model):
        yield f"{label}: {query}", [f"{path}?{query}"]
    for tenant in Tenant.objects.order_by("pk")[:1]:
        for name in ("tenant", "account__tenant", "lookup__tenant", "api_key__tenant"):
            if any(str(spec[0]) == name for spec in _page(model).list_filter if isinstance(spec, tuple)):
                yield f"{label}: of the busiest tenant", [f"{path}?{name}__id__exact={tenant.pk}"]
    yield f"{label}: a row", [_path(model, "change", quote(row.pk)) for row in rows]


def _filters(model: type[Model]) -> Iterator[str]:
    """Yields every choice of every filter of a list, one at a time."""
    request: Any = RequestFactory().get(_path(model, "changelist"))
    request.user = User.objects.get(username="bench")
    page = _page(model)
    # Unfold keeps it there while a list is shown.
    page.request = request
    changes = page.get_changelist_instance(request)
    for spec in changes.filter_specs:
        for choice in spec.choices(changes):
            fields = choice["form"].fields.values() if "form" in choice else ()
            # Tenants and operators are looked for, and not listed.
            few = (field for field in fields if not isinstance(field, forms.ModelChoiceField))
            values = [value for field in few for value, _ in getattr(field, "choices", ()) if value]
            yield from (urlencode({spec.expected_parameters()[0]: value}) for value in values)


def _finds() -> Iterator[tuple[str, list[str]]]:
    """Yields what the box of every page finds rows by."""
    path = reverse("find")
    rows = Search.objects.order_by("pk")[: ROWS_MEASURED * 5 : 5]
    terms = {
        "a search's id": [str(row.pk) for row in rows],
        "a request's id": [row.request_id for row in rows],
        "a provider's request id": list(Call.objects.values_list("provider_request_id", flat=True)[:ROWS_MEASURED]),
        "a picture's hash": list(Image.objects.values_list("sha256", flat=True)[:ROWS_MEASURED]),
        "how a key begins": ["sl_live_a", "sl_live_0f", "sl_test_c"],
        "a tenant's name": ["Cedar 12", "cedar", "juniper 9"],
        "nothing": ["0b6f7f3e-6f2c-7c31-a7bb-50a6f1d0c001", "nobody is called this"],
    }
    for name, values in terms.items():
        yield f"find: {name}", [f"{path}?{urlencode({'q': value})}" for value in values]


def _some(model: type[Model]) -> Iterator[Any]:
    """Yields rows from the beginning, the middle and the end of a table."""
    rows = model._default_manager.order_by("pk")
    yield from rows[: ROWS_MEASURED // 2]
    yield from rows.reverse()[: ROWS_MEASURED // 2]


def _middle(rows: Sequence[Any]) -> Any:
    """Returns an id in the middle of a table, whether there is such a row or not."""
    first, last = rows[0].pk, max(row.pk for row in rows)
    if isinstance(first, UUID):
        return UUID(int=(first.int + last.int) // 2)
    return (first + last) // 2 if isinstance(first, int) else rows[len(rows) // 2].pk


def _measured(client: Client, addresses: Sequence[str]) -> tuple[list[float], int]:
    """Returns the milliseconds of each answer, and the most queries that one took."""
    took, queries = [], 0
    for turn in range(max(TIMES, len(addresses))):
        began = time.perf_counter()
        answer = client.get(addresses[turn % len(addresses)])
        took.append((time.perf_counter() - began) * 1000)
        if answer.status_code >= 400:
            raise SystemExit(f"{addresses[turn % len(addresses)]}: {answer.status_code}")
    for address in addresses:
        with CaptureQueriesContext(connection) as captured:
            client.get(address)
        queries = max(queries, len(captured))
    return took, queries


def _most(took: Sequence[float]) -> float:
    """Returns the time that 95 of 100 answers take at most."""
    return sorted(took)[int(0.95 * (len(took) - 1))]


def _page(model: type[Model]) -> Any:
    return admin.site._registry[model]


def _path(model: type[Model], page: str, *args: Any) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def _bytes() -> float:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_database_size(current_database())")
        return float(cursor.fetchone()[0])
