"""Prints a search while it waits and runs: a line for each change and, on a terminal, a live line between them."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from rich.console import Console

from config.demo.api_client import ApiClient, Json
from config.launcher import System
from config.launcher.errors import LaunchError

LONGEST_SECONDS = 180.0
LOOK_SECONDS = 0.2
GOING_ON = ("queued", "running")
REASONS = {
    "turn": "others first",
    "rate": "next in line",
    "provider_backoff": "the provider asked to wait",
    "credential": "its credential was refused",
    "paused": "operators have paused the provider",
}


def watch(caller: ApiClient, search: Json, console: Console, system: System) -> Json:
    """Returns the search when it has ended. Raises `LaunchError` when a process dies, or it takes too long."""
    begun = time.monotonic()
    shown: dict[str, Any] = {}
    with console.status("") as live:
        while True:
            system.check()
            spent = time.monotonic() - begun
            for lookup in search["lookups"]:
                change = [lookup[name] for name in ("status", "position", "calls", "result_count")]
                if change != shown.get(lookup["id"]):
                    console.print(f"{spent:5.1f} s  {_line(lookup)}", soft_wrap=True, highlight=False, markup=False)
                    shown[lookup["id"]] = change
            live.update(f"{spent:5.1f} s  {_summary(search)}")
            if search["status"] not in GOING_ON:
                return search
            if spent > LONGEST_SECONDS:
                raise LaunchError(
                    f"The search has not ended after {LONGEST_SECONDS:g} s; the logs are in {system.logs}."
                )
            time.sleep(LOOK_SECONDS)
            search = caller.search(search["id"])


def _line(lookup: Json) -> str:
    calls = f"{lookup['calls']} call{'' if lookup['calls'] == 1 else 's'}"
    return f"{lookup['source']:<15}  {lookup['status']:<9}  {_place(lookup)}{calls}, {lookup['result_count']} found"


def _summary(search: Json) -> str:
    lookups = search["lookups"]
    ended = sum(lookup["status"] not in GOING_ON for lookup in lookups)
    return f"{search['status']}: {ended} of {len(lookups)} lookups have ended"


def _place(lookup: Json) -> str:
    if not lookup["waiting_on"]:
        return ""
    reason = REASONS[lookup["waiting_on"]]
    if not lookup["position"]:
        return f"{reason}; "
    wait = (datetime.fromisoformat(lookup["estimated_start_at"]) - datetime.now().astimezone()).total_seconds()
    return f"position {lookup['position']}, in about {max(0.0, wait):.1f} s ({reason}); "
