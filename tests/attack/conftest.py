"""Fixtures: a running Sightline to attack, and a bystander: another tenant, whose answers are timed during the attack.

Each test is one attack. It attacks inside `with bystander.watching():`, and asserts nothing about time itself.
"""

from __future__ import annotations

import json
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import psutil
import pytest

from tests import programs
from tests.processes import Sightline, answers, started, wait_until

GET_SECONDS, HEALTH_SECONDS = 0.2, 1.0
MEMORY_BYTES = 600_000_000
# The pause between two samples; taking one takes milliseconds when all is well.
PAUSE_SECONDS = 0.05
FEWEST_SAMPLES = 20


class Bystander:
    """Samples the answers that others get: Bob, who reads his searches, and a load balancer, which asks for `/healthz`."""

    def __init__(self, system: Sightline, key: str) -> None:
        self.system, self.key = system, key
        self.url = str(system.api.base_url).rstrip("/")

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Fails if the block slowed others down, or took too much memory."""
        gets: list[float] = []
        health: list[float] = []
        memory: list[int] = []
        over = threading.Event()
        watcher = threading.Thread(target=self._watch, args=(over, gets, health, memory))
        watcher.start()
        try:
            yield
            wait_until(lambda: len(health) >= FEWEST_SAMPLES or not watcher.is_alive())
        finally:
            over.set()
            watcher.join()
        told = f"GET {_words(gets)}; /healthz {_words(health)}; memory {max(memory) // 1_000_000} MB"
        print(told)  # noqa: T201 (pytest shows it with a failure)
        assert len(health) >= FEWEST_SAMPLES, f"an answer never came: {told}"
        assert statistics.median(gets) < GET_SECONDS, told
        # One sample in ten may be slow because the machine is busy.
        assert statistics.quantiles(health, n=10)[-1] < HEALTH_SECONDS, told
        assert max(memory) < MEMORY_BYTES, told

    def _watch(self, over: threading.Event, gets: list[float], health: list[float], memory: list[int]) -> None:
        with httpx.Client(base_url=self.url, headers=self.headers, timeout=15, trust_env=False) as client:
            while not over.wait(PAUSE_SECONDS):
                gets.append(_seconds(client, "/v1/searches"))
                health.append(_seconds(client, "/healthz"))
                memory.append(max(process.memory_info().rss for process in self.web_processes()))

    def web_processes(self) -> list[psutil.Process]:
        web = next(program.process for program in self.system.programs if program.name == "web")
        return [web, *web.children()]


@pytest.fixture(scope="package")
def system() -> Iterator[Sightline]:
    """Runs Sightline with two tenants, Alice the attacker and Bob, and no worker for searches."""
    with programs.state_folder() as folder, started(folder) as running:
        yield running


@pytest.fixture(scope="package")
def alices_key(system: Sightline) -> str:
    return _key_of(system, "Alice")


@pytest.fixture(scope="package")
def bystander(system: Sightline) -> Bystander:
    bob = Bystander(system, _key_of(system, "Bob"))
    with httpx.Client(base_url=bob.url, headers=bob.headers, trust_env=False) as client:
        wait_until(lambda: answers(client, "/v1/searches"))
    return bob


def _key_of(system: Sightline, name: str) -> str:
    key: str = json.loads(system.manage("create_tenant", name, "--json"))["api_keys"]["live"]
    return key


def _seconds(client: httpx.Client, path: str) -> float:
    begun = time.monotonic()
    answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return time.monotonic() - begun


def _words(seconds: list[float]) -> str:
    return f"{len(seconds)}, median {statistics.median(seconds):.3f} s, longest {max(seconds):.3f} s"
