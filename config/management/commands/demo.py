"""Shows the whole of Sightline in twenty seconds: starts it, searches with a picture, and prints the results.

The demo uses free ports and a state folder of its own (`manage.py` chooses it), so that it disturbs no `serve`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import httpx
from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser
from rich.console import Console

from config.demo import html_report, sample_picture, tenants, webhook_receiver
from config.demo.api_client import ApiClient
from config.demo.progress import watch
from config.demo.report import Findings, Report
from config.demo.sample_picture import SamplePicture
from config.demo.webhook_receiver import Receiver
from config.launcher import System, launched, ports
from config.launcher.errors import LaunchError, exits_with_message, refuse_production
from providers import registry

# Creators take four calls, the last of which returns half a page: there is something to wait for, and to release.
ASKED: dict[str, Any] = {
    "tiktok-creators": {"limit": 200, "parameters": {"followers_count": {"min": sample_picture.FOLLOWERS}}}
}
LOOKUPS = [{"source": source, **ASKED.get(source, {})} for source in registry.ADAPTERS]
NEIGHBOUR_LOOKUP = {"source": "tiktok-creators", "limit": 10}
NEIGHBOUR_SEARCHES = 3
# Columns of a report that is written to a file.
REPORT_WIDTH = 140


class Command(BaseCommand):
    help = "Starts all of Sightline with its sandbox, searches with a picture, and shows what came of it."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--image", type=Path, metavar="PATH", help="Your own picture instead of a drawn one.")

    def handle(self, *args: Any, image: Path | None, **options: Any) -> None:
        with exits_with_message():
            refuse_production("demo", "tenants and credits of its own")
            demonstrate(image, Report(Console(width=None if sys.stdout.isatty() else REPORT_WIDTH)))


def demonstrate(image: Path | None, report: Report) -> None:
    begun = time.monotonic()
    port, sandbox_port = ports.chosen_pair(settings.PORT, settings.SANDBOX_PORT)
    sample = sample_picture.own(image) if image else sample_picture.drawn(settings.STATE_DIR)
    report.line("Starting the web server, six worker processes, beat and the sandbox ...")
    # Webhooks may be sent to this machine too.
    allowed = ",".join([*map(str, settings.OUTBOUND_ALLOW), ports.HOST])
    environment = played_providers(f"http://{ports.HOST}:{sandbox_port}") | {"OUTBOUND_ALLOW": allowed}
    with launched(port=port, sandbox_port=sandbox_port, environment=environment, prepare=tenants.prepare) as system:
        report.line(f"Started after {time.monotonic() - begun:.1f} s: the API at {system.web}/v1")
        play(system, sample, tenants.create(), report)
        report.line(f"Time        {time.monotonic() - begun:.1f} s in all")


def played_providers(sandbox: str) -> dict[str, str]:
    """Returns the environment in which the sandbox plays every provider, for live keys too."""
    played = {each.base_url_setting: f"{sandbox}{each.sandbox_path}" for each in registry.ADAPTERS.values()}
    return {"SANDBOX_URL": sandbox, **played}


def play(system: System, sample: SamplePicture, api_keys: list[str], report: Report) -> None:
    try:
        with (
            ApiClient(system.web, api_keys[0]) as tenant,
            ApiClient(system.web, api_keys[1]) as neighbour,
            webhook_receiver.listening() as receiver,
        ):
            search_and_report(system, sample, tenant, neighbour, receiver, report)
    except httpx.TransportError as error:
        system.check()
        raise LaunchError(
            f"The web server does not answer ({type(error).__name__}); its log is in {system.logs}."
        ) from None


def search_and_report(
    system: System, sample: SamplePicture, tenant: ApiClient, neighbour: ApiClient, receiver: Receiver, report: Report
) -> None:
    receiver.secret = tenant.create_endpoint(receiver.url, ["search.succeeded"])
    # Equal searches would otherwise be coalesced.
    order: dict[str, Any] = {"lookups": [NEIGHBOUR_LOOKUP], "max_age": 0}
    others = [neighbour.submit(sample.content, **order) for _ in range(NEIGHBOUR_SEARCHES)]
    report.line(f"A neighbour has {len(others)} searches in line. Now the tenant's, for {sample.title}:")
    search = watch(tenant, tenant.submit(sample.content, lookups=LOOKUPS), report.console, system)
    for lookup in search["lookups"]:
        if lookup["status"] != "succeeded":
            error = lookup["error"] or {"detail": "it says no more."}
            raise LaunchError(f"{lookup['source']} ended as {lookup['status']}: {error['detail']}")
    others = [neighbour.search(other["id"], wait=30) for other in others]
    found, theirs = Findings.read(tenant, [search]), Findings.read(neighbour, others)
    report.results(found, sample.maker)
    report.credits(found)
    stats = httpx.get(f"{system.sandbox}/_stats", trust_env=False).json()
    report.lanes(stats, found, theirs)
    report.webhook(receiver.next(), tenant.search(search["id"]))
    report.sandbox(stats, found, theirs)
    page = html_report.write(settings.STATE_DIR, sample, found, html_report.Pictures(system.sandbox))
    report.line(f"Report      {page}")
