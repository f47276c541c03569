"""Measures the time from POST to the first byte at the provider, on an idle lane, each time with another JPEG of 200 kB."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import httpx

from accounts import keys
from accounts.models import Mode, Tenant
from providers.keyring import credentials
from tests.bench import limits, system
from tests.bench.picture import jpeg
from tests.bench.system import Provider

TIMES = 200
# Searches before the measurement, so that each worker process has made a call, and each web process has read a picture.
WARMING = 40


def measure(folder: Path, provider: Provider, words: Sequence[str]) -> None:
    limits.prepare(provider, limits.TWENTY, latency_ms=20)
    tenant = Tenant.objects.create(name="patient")
    secret = keys.issue(tenant, Mode.LIVE)[1]
    credentials.store(tenant, "modash", "secret-of-patient")
    with system.workers(folder, count=2, processes=8), system.web(folder) as (_, url):
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"}) as api:
            # Made before the measurement, because making them uses the same two processors.
            contents = [jpeg(number) for number in range(TIMES)]
            for number in range(WARMING):
                _post(api, jpeg(100_000 + number))
            time.sleep(2)
            sent = [_spaced(api, content) for content in contents]
        time.sleep(1)
    arrivals = [at for at, _, _ in provider.log()][-TIMES:]
    delays = sorted(1000 * (arrived - began) for began, arrived in zip(sent, arrivals, strict=True))
    size = len(jpeg()) // 1000
    print(f"\nPOST of a {size} kB JPEG to the first byte at the provider, {TIMES} searches on an idle lane")
    print(
        f"median {statistics.median(delays):.1f} ms  90 % {delays[int(TIMES * 0.9)]:.1f} ms  most {delays[-1]:.1f} ms"
    )


def _spaced(api: httpx.Client, content: bytes) -> float:
    time.sleep(random.uniform(0.2, 0.4))
    began = time.monotonic()
    _post(api, content)
    return began


def _post(api: httpx.Client, content: bytes) -> None:
    order = '{"lookups": [{"source": "tiktok-creators"}]}'
    files = {"image": ("picture.jpg", content, "image/jpeg")}
    api.post("/v1/searches", data={"request": order}, files=files).raise_for_status()
