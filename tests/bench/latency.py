"""From POST to the first byte at the provider, on an idle lane: a 200 kB JPEG, each time another one."""

from __future__ import annotations

import random
import socket
import statistics
import sys
import time
from pathlib import Path

import httpx

from accounts import keys
from accounts.models import Mode, Tenant
from providers import credentials
from tests.bench import lanes, system
from tests.bench.picture import jpeg
from tests.bench.system import Provider

TIMES = 200
# So many that each worker process has made a call, and each web process taken a picture.
WARMING = 40


def measure(folder: Path, provider: Provider, *, times: int = TIMES) -> None:
    setting = lanes.Setting(name="idle", kind="window", calls=20, window_ms=1000, guard_ms="2", jobs=0)
    lanes.prepare(provider, setting, latency_ms=20)
    tenant = Tenant.objects.create(name="patient")
    secret = keys.issue(tenant, Mode.LIVE)[1]
    credentials.store(tenant, "modash", "secret-of-patient")
    port = _free_port()
    web = [sys.executable, "-m", "granian", "--interface", "wsgi", "config.wsgi:application", "--port", str(port)]
    serving = system.process(*web, "--workers", "2", "--blocking-threads", "16", log=folder / "web.log")
    with system.workers(folder, count=2, concurrency=8), serving:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {secret}"}) as api:
            lanes.wait_until(lambda: _is_up(api), seconds=30)
            # Made before: their making is the caller's work, on the same two cores.
            contents = [jpeg(number) for number in range(times)]
            for number in range(WARMING):
                _post(api, jpeg(-number - 1))
            time.sleep(2)
            sent = [_spaced(api, content) for content in contents]
        time.sleep(1)
    arrivals = [at for at, _, _ in provider.log()][-times:]
    delays = sorted(1000 * (arrived - began) for began, arrived in zip(sent, arrivals, strict=True))
    print(
        f"\nPOST of a {len(jpeg()) // 1000} kB JPEG to the first byte at the provider, {times} searches on an idle lane"
    )
    print(
        f"median {statistics.median(delays):.1f} ms  90 % {delays[int(times * 0.9)]:.1f} ms  most {delays[-1]:.1f} ms"
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


def _is_up(api: httpx.Client) -> bool:
    try:
        return api.get("/healthz").is_success
    except httpx.TransportError:
        return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
