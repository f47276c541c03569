"""Deliveries a second, and what endpoints that hang cost those that do not: from the event's row to the receiver."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
from django.conf import settings
from django.db import connection
from django.db.models.functions import Now

from accounts import webhooks
from accounts.models import Delivery, Endpoint, Event, EventType, Mode, Tenant
from accounts.webhooks import delivery, endpoints
from tests.bench import system
from tests.bench.limits import wait_until
from tests.bench.system import Provider

# As large as the event of a search with four lookups.
DATA = {"id": "0" * 36, "lookups": ["x" * 900] * 4}
TYPE = EventType.SEARCH_SUCCEEDED
ENDPOINTS, EVENTS = 20, 200
BACKLOG = """
    WITH event AS (
        INSERT INTO accounts_event (id, tenant_id, mode, type, reference, body)
        SELECT gen_random_uuid(), %(tenant)s, 'live', 'ping', '', '{}' FROM generate_series(1, %(rows)s) RETURNING id
    )
    INSERT INTO accounts_delivery
        (id, tenant_id, event_id, endpoint_id, state, next_attempt_at, tries, attempt_count)
    SELECT gen_random_uuid(), %(tenant)s, id, (%(endpoints)s::uuid[])[1 + floor(random() * cardinality(%(endpoints)s::uuid[]))],
        'pending', now() - random() * interval '1 day', 0, 0
    FROM event
"""
TENANTS, SECONDS, PAUSE_SECONDS = 20, 60.0, 0.5


def measure(folder: Path, provider: Provider, words: Sequence[str]) -> None:
    with _receiver(folder) as receiver:
        print(f"\nDeliveries a second, {ENDPOINTS} endpoints that answer at once, {EVENTS} events to each\n")
        for count in (1, 2):
            print(f"{count} worker process{'es' if count > 1 else '  '}  {_rate(folder, receiver, count)}", flush=True)
        print(f"\n{TENANTS} endpoints that hang and {TENANTS} that do not, an event to each every {PAUSE_SECONDS} s\n")
        print(_delays(folder, receiver), flush=True)
    print("\nA claim, where all is due: of 4 at most to an endpoint, 32 in all\n")
    for rows, spread in ((1000, 10), (1_000_000, 10)):
        print(f"{rows:9,} deliveries to {spread:4} endpoints  {_claim(rows, spread)}", flush=True)


def _rate(folder: Path, receiver: httpx.Client, count: int) -> str:
    _empty()
    tenant = _tenant(receiver, *(f"/quick/{number}" for number in range(ENDPOINTS)))
    for _ in range(EVENTS):
        webhooks.record(tenant.pk, Mode.LIVE, TYPE, DATA)
    with _workers(folder, count) as workers:
        wait_until(lambda: not Delivery.objects.filter(state="pending").exists(), seconds=300)
        cpu = system.cpu_seconds(workers)
    arrivals = sorted(at for _, _, at in receiver.get("/_log").json())
    took = arrivals[-1] - arrivals[0]
    return f"{len(arrivals) / took:5.0f}/s  {1000 * cpu / len(arrivals):4.1f} ms of processor time each, start included"


def _delays(folder: Path, receiver: httpx.Client) -> str:
    _empty()
    tenants = [_tenant(receiver, "/hang", "/quick") for _ in range(TENANTS)]
    with _workers(folder, 1):
        # One that goes through: it has started.
        warm = _tenant(receiver, "/quick")
        webhooks.record(warm.pk, Mode.LIVE, TYPE, DATA)
        wait_until(lambda: Delivery.objects.filter(tenant=warm, state="delivered").exists(), seconds=60)
        begun = time.monotonic()
        while time.monotonic() - begun < SECONDS:
            for tenant in tenants:
                webhooks.record(tenant.pk, Mode.LIVE, TYPE, DATA)
            time.sleep(PAUSE_SECONDS)
        time.sleep(2)
        log = receiver.get("/_log").json()
    happened = {
        str(id): at.timestamp() for id, at in Event.objects.exclude(tenant=warm).values_list("pk", "created_at")
    }
    arrived = {id: at for path, id, at in reversed(log) if path == "/quick"}
    delays = sorted(arrived[id] - at if id in arrived else float("inf") for id, at in happened.items())
    within = sum(delay <= 1 for delay in delays) / len(delays)
    part = [1000 * delays[int(len(delays) * share)] for share in (0.5, 0.99)]
    return (
        f"{len(delays)} to healthy ones: median {part[0]:.0f} ms, 99 % {part[1]:.0f} ms, most {1000 * delays[-1]:.0f} ms; "
        f"{within:.2%} within 1 s of the event. {sum(path == '/hang' for path, _, _ in log)} waited for ones that hang."
    )


def _claim(rows: int, spread: int) -> str:
    """Measures a claim that finds nothing, because every endpoint has what it may."""
    _empty()
    tenant = Tenant.objects.create(name=f"behind {time.monotonic_ns()}")
    made = [
        Endpoint(tenant=tenant, mode=Mode.LIVE, url="https://example.com", target=str(at), sealed=b"", slow=False)
        for at in range(spread)
    ]
    Endpoint.objects.bulk_create(made)
    with connection.cursor() as cursor:
        cursor.execute(BACKLOG, {"tenant": tenant.pk, "rows": rows, "endpoints": [each.pk for each in made]})
        cursor.execute("VACUUM ANALYZE accounts_delivery")
    found: list[float] = []
    nothing: list[float] = []
    for _ in range(40):
        begun = time.perf_counter()
        taken = delivery.claim(most=32, most_slow=16)
        (found if taken else nothing).append(1000 * (time.perf_counter() - begun))
        if not taken:
            Delivery.objects.filter(leased_until__isnull=False).update(leased_until=None, next_attempt_at=Now())
    return f"median {statistics.median(found):5.1f} ms" + (
        f", {statistics.median(nothing):.1f} ms where nothing may be taken" if nothing else ""
    )


def _empty() -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE accounts_event, accounts_endpoint CASCADE")


def _tenant(receiver: httpx.Client, *paths: str) -> Tenant:
    # All of them are at one host.
    settings.WEBHOOK_TARGET_ENDPOINTS = len(paths)
    tenant = Tenant.objects.create(name=f"tenant {time.monotonic_ns()}", most_endpoints=len(paths))
    for path in paths:
        endpoints.create(tenant, Mode.LIVE, url=f"{receiver.base_url}".rstrip("/") + path)
    return tenant


@contextmanager
def _receiver(folder: Path) -> Iterator[httpx.Client]:
    command = [sys.executable, "-m", "tests.bench.receiver"]
    with (folder / "receiver.log").open("a") as log:
        started = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert started.stdout is not None
        yield httpx.Client(base_url=f"http://127.0.0.1:{started.stdout.readline().strip()}", timeout=30)
    finally:
        started.terminate()
        started.wait(10)


@contextmanager
def _workers(folder: Path, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    with ExitStack() as stack:
        command = system.celery("config", "-Q", "webhooks", "--pool", "threads", "-c", "1", "-n")
        started = [
            stack.enter_context(
                system.process(
                    *command,
                    f"webhooks{number}@bench",
                    log=folder / "webhooks.log",
                    OUTBOUND_ALLOW="127.0.0.0/8",
                )
            )
            for number in range(count)
        ]
        system.wait_for_workers("config", count)
        yield started
