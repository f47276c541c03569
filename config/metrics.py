"""Counts the requests of a web server for Prometheus, and answers `/metrics` where the token is shown.

A web server has several processes, any of which answers. Each writes its counts to files of its own in one folder, and the
process that is asked adds them all up (the multiprocess mode of prometheus_client). Nothing is counted without a METRICS_TOKEN.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare

if TYPE_CHECKING:
    from prometheus_client import Counter, Histogram

# prometheus_client's own name for the folder, which it reads when it is imported.
FOLDER = "PROMETHEUS_MULTIPROC_DIR"
NAME = "sightline-metrics"
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
# Seconds; a request that waits (`Prefer: wait`) may take a minute.
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# The route of requests that were refused before their path was looked at, and of paths that nothing has.
REFUSED, NO_ROUTE = "(refused at once)", "(no such path)"


def share(server: int) -> None:
    """Makes the folder that all processes of one web server count in. Raises `ImproperlyConfigured`.

    `server`: the id of the process that started this one. A server with the same id that ended earlier had another folder, and
    those of servers that are gone are removed.
    """
    if not settings.METRICS_TOKEN:
        return
    folder = Path(tempfile.gettempdir()) / f"{NAME}-{os.geteuid()}-{server}-{_started(server)}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        if folder.is_symlink() or folder.stat().st_uid != os.geteuid():
            raise PermissionError("the folder is another account's")
    except OSError as error:
        raise ImproperlyConfigured(
            f"METRICS_TOKEN is set, and {folder} cannot be made: {error.strerror or error}."
        ) from None
    os.environ[FOLDER] = str(folder)
    for other in folder.parent.glob(f"{NAME}-{os.geteuid()}-*"):
        if not _is_running(other.name.split("-")[3]):
            shutil.rmtree(other, ignore_errors=True)


def _started(process: int) -> str:
    """Returns when a process started, in the system's own unit; a constant where the system does not say."""
    with suppress(OSError, IndexError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    return "0"


def _is_running(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


@cache
def requests() -> Counter:
    from prometheus_client import Counter

    words = "Requests that were answered, by route, method and status."
    return Counter("sightline_http_requests", words, ["route", "method", "status"])


@cache
def seconds() -> Histogram:
    from prometheus_client import Histogram

    words = (
        "Seconds from a request's arrival at a thread to the beginning of its answer, waiting (Prefer: wait) included."
    )
    return Histogram("sightline_http_request_seconds", words, ["route", "method"], buckets=BUCKETS)


def refused(method: str, status: int) -> None:
    """Counts a request that no view saw."""
    if settings.METRICS_TOKEN:
        requests().labels(REFUSED, _known(method), str(status)).inc()


def _known(method: str) -> str:
    return method if method in METHODS else "other"


def answered(method: str, route: str | None, status: int, duration: float) -> None:
    """Counts a request. `route`: the pattern of its path, so that ids in paths make no new series. `duration`: in seconds."""
    names = (route or NO_ROUTE, _known(method))
    requests().labels(*names, str(status)).inc()
    seconds().labels(*names).observe(duration)


def answer(request: HttpRequest) -> HttpResponse:
    """Answers all counts in Prometheus' text format. Without the token there is no such page."""
    token = settings.METRICS_TOKEN
    if not token or not constant_time_compare(request.headers.get("Authorization", ""), f"Bearer {token}"):
        raise Http404
    from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
    from prometheus_client.multiprocess import MultiProcessCollector

    registry = REGISTRY
    if FOLDER in os.environ:
        registry = CollectorRegistry()
        collector: Any = MultiProcessCollector  # has no types
        collector(registry)
    return HttpResponse(
        generate_latest(registry), content_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"}
    )
