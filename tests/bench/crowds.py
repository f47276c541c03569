"""Measures how crowds delay a quiet tenant: the times of its answers beside each attack, against those before it.

The web server runs as in the Dockerfile, alone and behind nginx. The crowds have one tenant's key, or none, and its default
bounds. They share this machine's processors with all that they attack, at a lower priority.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from accounts import keys
from accounts.models import Mode
from tests import proxies
from tests.bench import limits, system
from tests.bench.crowd_callers import CROWDS
from tests.bench.system import Provider
from tests.bench.tenants import Submitter

QUIET_SECONDS, SETTLING_SECONDS, ATTACK_SECONDS = 4.0, 2.0, 7.0
# What a crowd has left behind, such as pictures that wait for a decoder, is worked off before the next measurement.
LEAST_RECOVERY_SECONDS, MOST_RECOVERY_SECONDS, RECOVERED_ANSWERS = 1.0, 5.0, 3
WARMING_SECONDS = 3.0
NEEDED = 3.0
KINDS = ("GET", "POST")
# The crowds' tenant has the bounds that every tenant has.
BOUNDS = {"TENANT_REQUESTS_PER_SECOND": ""}


@dataclass(frozen=True)
class Answer:
    begun: float
    kind: str
    ms: float
    status: int


@dataclass(frozen=True)
class Access:
    """A tenant's key, a search of its own that never ends (no worker runs), and a key that nobody has any more."""

    key: str
    search: str
    revoked_key: str

    @classmethod
    def of(cls, name: str) -> Access:
        submitter = Submitter(name)
        search = submitter.submit()
        secret, (revoked, unknown) = keys.issue(submitter.tenant, Mode.LIVE)[1], keys.issue(submitter.tenant, Mode.LIVE)
        keys.revoke(revoked)
        return cls(secret, str(search.pk), unknown)


def measure(folder: Path, provider: Provider, words: Sequence[str]) -> None:
    limits.prepare(provider, limits.OUT_OF_THE_WAY, latency_ms=0)
    bystander, crowd = Access.of("quiet"), Access.of("crowd")
    names = [name for name in CROWDS if not words or any(word in name for word in words)]
    with system.web(folder, threads=640, **BOUNDS) as (web, url):
        _measure("without a proxy", folder, url, web.pid, bystander, crowd, names)
        if proxies.IS_INSTALLED:
            with proxies.nginx_before(url) as public:
                _measure("behind nginx", folder, public, web.pid, bystander, crowd, names)


def _measure(
    title: str, folder: Path, url: str, web: int, bystander: Access, crowd: Access, names: Sequence[str]
) -> None:
    log = folder / "crowds-quiet.log"
    quiet: list[tuple[float, float]] = []
    attacks: dict[str, tuple[tuple[float, float], int, str]] = {}
    with _callers("quiet", log, url, bystander):
        time.sleep(WARMING_SECONDS)
        before = _memory(web)
        for name in names:
            quiet.append(_window(QUIET_SECONDS))
            told = folder / "crowd.json"
            told.unlink(missing_ok=True)
            with _callers(name, told, url, crowd):
                time.sleep(SETTLING_SECONDS)
                window, memory = _watched(web, ATTACK_SECONDS)
                attacks[name] = window, memory, _words(json.loads(told.read_text()))
            _recovery(log, quiet[0])
        # Until the last requests are answered.
        time.sleep(1)
    answers = _answers(log)
    calm = [_within(answers, window) for window in quiet]
    print(f"\nA quiet tenant beside crowds, {title}; web processes have {before} MB at most before")
    print(f"{'quiet':<28} {_figures([answer for window in calm for answer in window])}")
    for name, (window, memory, told_statuses) in attacks.items():
        beside = _within(answers, window)
        print(
            f"{name:<28} {_figures(beside)}  {_ratios(beside, calm)}  {memory} MB  the crowd: {told_statuses}",
            flush=True,
        )


@contextmanager
def _callers(name: str, log: Path, url: str, access: Access) -> Iterator[None]:
    address = urlsplit(url)
    command = (
        sys.executable,
        "-m",
        "tests.bench.crowd_callers",
        name,
        str(log),
        str(address.hostname),
        str(address.port),
    )
    with system.process(*command, access.key, access.search, access.revoked_key, log=log.with_suffix(".err")):
        yield


def _window(seconds: float) -> tuple[float, float]:
    begun = time.monotonic()
    time.sleep(seconds)
    return begun, time.monotonic()


def _recovery(log: Path, calm: tuple[float, float]) -> None:
    """Waits until the last searches that were sent were answered as fast as the slowest one before the first attack."""
    slowest = max((answer.ms for answer in _kind(_within(_answers(log), calm), "POST")), default=0.0)
    begun = time.monotonic()
    time.sleep(LEAST_RECOVERY_SECONDS)
    while time.monotonic() < begun + MOST_RECOVERY_SECONDS:
        sent = [answer for answer in _kind(_answers(log), "POST") if answer.begun > begun]
        if len(sent) >= RECOVERED_ANSWERS and all(answer.ms <= slowest for answer in sent[-RECOVERED_ANSWERS:]):
            return
        time.sleep(0.25)


def _watched(web: int, seconds: float) -> tuple[tuple[float, float], int]:
    """Returns the window, and the most memory of a web process in it."""
    begun, most = time.monotonic(), 0
    while time.monotonic() < begun + seconds:
        most = max(most, _memory(web))
        time.sleep(0.25)
    return (begun, time.monotonic()), most


def _memory(web: int) -> int:
    """Returns the megabytes of the largest process of the web server."""
    server = psutil.Process(web)
    most = 0
    for process in (server, *server.children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            most = max(most, process.memory_info().rss)
    return most // 1_000_000


def _answers(log: Path) -> list[Answer]:
    # The last line may be half written.
    rows = [line.split() for line in log.read_text().splitlines(keepends=True) if line.endswith("\n")]
    return [Answer(float(begun), kind, float(seconds) * 1000, int(status)) for begun, kind, seconds, status in rows]


def _within(answers: Sequence[Answer], window: tuple[float, float]) -> list[Answer]:
    return [answer for answer in answers if window[0] <= answer.begun <= window[1]]


def _figures(answers: Sequence[Answer]) -> str:
    parts = []
    for kind in KINDS:
        found = [answer for answer in answers if answer.kind == kind]
        failed = Counter(answer.status for answer in found if not 200 <= answer.status < 300)
        p50, p99 = _percentiles(found)
        parts.append(f"{kind} {len(found):>4}: {p50:4.0f} / {p99:5.0f} ms" + _failures(failed))
    return "  ".join(parts)


def _failures(failed: Mapping[int, int]) -> str:
    words = [f"{count} × {status or 'no answer'}" for status, count in sorted(failed.items())]
    return f" ({', '.join(words)})" if words else ""


def _ratios(beside: Sequence[Answer], calm: Sequence[Sequence[Answer]]) -> str:
    """Returns how many times longer the slowest hundredth takes than in the median of the quiet windows."""
    ratios = []
    for kind in KINDS:
        usual = statistics.median(_percentiles(_kind(window, kind))[1] for window in calm)
        ratios.append(_percentiles(_kind(beside, kind))[1] / usual if usual else 0.0)
    return " / ".join(f"{ratio:.1f}" for ratio in ratios) + f" times (needed: {NEEDED:g})"


def _kind(answers: Sequence[Answer], kind: str) -> list[Answer]:
    return [answer for answer in answers if answer.kind == kind]


def _percentiles(answers: Sequence[Answer]) -> tuple[float, float]:
    """Returns the median and the 99th percentile."""
    times = sorted(answer.ms for answer in answers)
    if len(times) < 2:
        return (0.0, 0.0)
    return statistics.median(times), statistics.quantiles(times, n=100, method="inclusive")[98]


def _words(statuses: dict[str, int]) -> str:
    return ", ".join(f"{count:,} × {name}" for name, count in sorted(statuses.items()))
