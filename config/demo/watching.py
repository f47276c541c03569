"""Shows a search while it waits in line and runs: a line for each change, and between them, on a terminal, a live one."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Any

from rich.console import Console

from config.demo.caller import Caller, Json
from config.launcher import System
from config.launcher.trouble import Trouble

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


def watch(caller: Caller, search: Json, console: Console, system: System) -> Json:
    """Returns the search when it has ended. Raises `Trouble` when a process dies, or it takes too long."""
    begun = time.monotonic()
    shown: Any = None
    with console.status("") as live:
        while True:
            system.check()
            spent = time.monotonic() - begun
            lookup = search["lookups"][0]
            told = f"{spent:5.1f} s  {search['status']:<9} {_place(lookup)}{_yield(lookup)}"
            change = [search["status"], *(lookup[name] for name in ("position", "calls", "result_count"))]
            if change != shown:
                console.print(told, soft_wrap=True, highlight=False, markup=False)
                shown = change
            live.update(told.strip())
            if search["status"] not in GOING_ON:
                return search
            if spent > LONGEST_SECONDS:
                raise Trouble(f"The search has not ended after {LONGEST_SECONDS:g} s; the logs are in {system.logs}.")
            time.sleep(LOOK_SECONDS)
            search = caller.search(search["id"])


def _place(lookup: Json) -> str:
    if not lookup["waiting_on"]:
        return ""
    reason = REASONS[lookup["waiting_on"]]
    if not lookup["position"]:
        return f"{reason}; "
    wait = (datetime.fromisoformat(lookup["estimated_start_at"]) - datetime.now().astimezone()).total_seconds()
    return f"position {lookup['position']}, in about {max(0.0, wait):.1f} s ({reason}); "


def _yield(lookup: Json) -> str:
    return f"{lookup['calls']} call{'' if lookup['calls'] == 1 else 's'}, {lookup['result_count']} creators"
