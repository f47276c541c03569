"""Lookups a second from request to result with the limit out of the way, and what bounds them: the processor time of each part.

All of it shares this machine's cores: the callers, the web server, the workers, PostgreSQL, Valkey and the bench's provider.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from threading import Event, Thread

import httpx
import psutil
from django.db import connection

from accounts import keys
from accounts.models import Mode
from providers import registry
from providers.keyring import credentials
from searches.models import Lookup
from tests.bench import limits, system
from tests.bench.limits import prepare, wait_until
from tests.bench.system import Provider
from tests.bench.tenants import Submitter

PROCESSES = (1, 2, 4, 8)
# Of each search: one source alone, and all of them, as who sends a picture once asks.
SOURCES = (("tiktok-creators",), tuple(sorted(registry.ADAPTERS)))
LATENCY_MS = 50
CALLERS, MOST_WAITING = 4, 100
WARMING, SECONDS = 60, 12.0


def measure(folder: Path, provider: Provider, words: Sequence[str]) -> None:
    cores = psutil.cpu_count()
    print(
        f"\nLookups a second with the limit out of the way, all parts on {cores} cores, answers after {LATENCY_MS} ms\n"
    )
    for sources, processes in product(SOURCES, PROCESSES):
        name = f"{len(sources)} lookups a search, {processes} worker processes"
        if not words or any(word in name for word in words):
            print(f"{name:<40} {_run(folder, provider, sources, processes)}", flush=True)


def _run(folder: Path, provider: Provider, sources: Sequence[str], processes: int) -> str:
    prepare(provider, limits.OUT_OF_THE_WAY, latency_ms=LATENCY_MS)
    tenant = Submitter("busy")
    for name in ("keyapi", "memories"):
        credentials.store(tenant.tenant, name, "secret-of-busy")
    image = tenant.submit().image
    assert image is not None
    order: dict[str, object] = {
        "image": {"id": str(image.pk)},
        "lookups": [{"source": source} for source in sources],
        "max_age": 0,
    }
    secret = keys.issue(tenant.tenant, Mode.LIVE)[1]
    count = 1 if processes == 1 else 2
    with (
        system.workers(folder, count=count, processes=processes // count) as workers,
        system.web(folder) as (web, url),
        _callers(url, secret, order),
    ):
        wait_until(lambda: _ended() >= WARMING, seconds=60)
        parts: dict[str, Callable[[], float]] = {
            "callers": lambda: sum(psutil.Process().cpu_times()[:2]),
            "web": lambda: system.cpu_seconds([web]),
            "workers": lambda: system.cpu_seconds(workers.searching),
            "sweeps": lambda: system.cpu_seconds(workers.sweeping),
            "PostgreSQL": system.postgres_seconds,
            "Valkey": system.valkey_seconds,
            "provider": lambda: system.cpu_seconds([provider.process]),
        }
        before, ended, began = {name: read() for name, read in parts.items()}, _ended(), time.monotonic()
        time.sleep(SECONDS)
        used, lookups = {name: read() - before[name] for name, read in parts.items()}, _ended() - ended
        seconds = time.monotonic() - began
    cores = sum(used.values()) / seconds
    told = ", ".join(f"{name} {1000 * used[name] / lookups:.1f}" for name in parts)
    return f"{lookups / seconds:5.1f}/s  {cores:.2f} cores busy; ms a lookup: {told}"


def _ended() -> int:
    return Lookup.objects.filter(status__in=Lookup.ENDED).count()


@contextmanager
def _callers(url: str, secret: str, order: dict[str, object]) -> Iterator[None]:
    """Keeps a backlog that is just enough for any number of workers, because accepting searches takes processor time too."""
    room, stop = Event(), Event()
    callers = [Thread(target=_call, args=(url, secret, order, room, stop)) for _ in range(CALLERS)]
    watcher = Thread(target=_watch, args=(room, stop))
    for thread in (watcher, *callers):
        thread.start()
    try:
        yield
    finally:
        stop.set()
        room.set()
        for thread in (watcher, *callers):
            thread.join()


def _call(url: str, secret: str, order: dict[str, object], room: Event, stop: Event) -> None:
    with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"}, timeout=30) as api:
        while not stop.is_set():
            room.wait()
            api.post("/v1/searches", json=order).raise_for_status()


def _watch(room: Event, stop: Event) -> None:
    while not stop.wait(0.2):
        if Lookup.objects.filter(status="queued").count() < MOST_WAITING:
            room.set()
        else:
            room.clear()
    connection.close()
