"""Accepted submits a second over HTTP: of one tenant under a tenant's and a key's cap, beside many tenants without, in turns.

Searches of one tenant with one provider share the account's row, which stays locked from the hold to the commit, and the rows
that count under the caps. Those of many tenants share nothing.
"""

from __future__ import annotations

import itertools
import json
import statistics
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from accounts import keys
from accounts.models import Mode
from billing.models import Entry, KeyCap, TenantCap
from tests.bench import limits, system
from tests.bench.limits import prepare
from tests.bench.system import Provider
from tests.bench.tenants import SOURCE, Submitter

TENANTS, CALLERS = 16, 8
TURNS, SECONDS, WARMING_SECONDS = 8, 5.0, 4.0
CAP = Decimal(1_000_000)
ONE, MANY = "one tenant with caps", "many tenants without"


class Caller:
    """One search of one API key, which is sent again and again."""

    def __init__(self, submitter: Submitter) -> None:
        image = submitter.submit().image
        assert image is not None
        order = {"image": {"id": str(image.pk)}, "lookups": [{"source": SOURCE, "limit": 2}], "max_age": 0}
        self.key, secret = keys.issue(submitter.tenant, Mode.LIVE)
        self.body = json.dumps(order)
        self.headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}

    def submit(self, connection: HTTPConnection) -> None:
        connection.request("POST", "/v1/searches", self.body, self.headers)
        answer = connection.getresponse()
        said = answer.read()
        if answer.status != 202:
            raise SystemExit(f"{answer.status}: {said.decode()}")


def measure(folder: Path, provider: Provider, words: Sequence[str]) -> None:
    prepare(provider, limits.OUT_OF_THE_WAY, latency_ms=0)
    capped = Caller(Submitter("capped"))
    TenantCap.objects.create(tenant=capped.key.tenant, provider="modash", amount=CAP)
    KeyCap.objects.create(api_key=capped.key, provider="modash", amount=CAP)
    groups = {ONE: [capped], MANY: [Caller(Submitter(f"free-{number}")) for number in range(TENANTS)]}
    rates: dict[str, list[float]] = {name: [] for name in groups}
    with system.web(folder) as (_, url):
        for callers in groups.values():
            _accepted_a_second(url, callers, WARMING_SECONDS)
        for _ in range(TURNS):
            for name, callers in groups.items():
                rates[name].append(_accepted_a_second(url, callers, SECONDS))
    shares = sorted(one / many for one, many in zip(rates[ONE], rates[MANY], strict=True))
    print(f"\nAccepted submits a second over HTTP, {CALLERS} callers, {TURNS} turns of {SECONDS:g} s each")
    for name, found in rates.items():
        print(f"{name}: {statistics.median(found):.0f} in the median, {min(found):.0f} to {max(found):.0f}")
    print(
        f"share: {statistics.median(shares):.0%} in the median, {shares[0]:.0%} to {shares[-1]:.0%} (needed: 60 %)",
        flush=True,
    )


def _accepted_a_second(url: str, callers: list[Caller], seconds: float) -> float:
    """Returns how many entries of holds a second were written, one for each accepted search."""
    address = urlsplit(url)
    assert address.hostname is not None
    before, began = Entry.objects.count(), time.monotonic()
    with ThreadPoolExecutor(CALLERS) as pool:
        turns = [
            pool.submit(_call, address.hostname, address.port, [*callers[nth:], *callers[:nth]], began + seconds)
            for nth in range(CALLERS)
        ]
        for turn in turns:
            turn.result()
    return (Entry.objects.count() - before) / (time.monotonic() - began)


def _call(host: str, port: int | None, callers: Sequence[Caller], until: float) -> None:
    connection = HTTPConnection(host, port, timeout=30)
    for caller in itertools.cycle(callers):
        if time.monotonic() > until:
            break
        caller.submit(connection)
    connection.close()
