"""Measures; asserts nothing. `python -m tests.bench [section …] [words of a row's name]`.

Servers, data and logs are the bench's own, in `.local/bench`, whatever the environment names. Figures of one run compare with
each other; this machine's other work shows in them.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from config import embedded, environment

OTHERS = ("DATABASE_URL", "REDIS_URL", "STORAGE_URL")


def sections() -> dict[str, Callable[..., None]]:
    from tests.bench import (
        admin,
        api,
        claims,
        crowds,
        estimates,
        lane,
        latency,
        ledger,
        newcomer,
        routes,
        shares,
        submits,
        throughput,
        troubles,
        usage,
        webhooks,
    )

    return {
        "lane": lane.measure,
        "troubles": troubles.measure,
        "newcomer": newcomer.measure,
        "shares": shares.measure,
        "estimates": estimates.measure,
        "claims": claims.measure,
        "ledger": ledger.measure,
        "usage": usage.measure,
        "submits": submits.measure,
        "admin": admin.measure,
        "api": api.measure,
        "routes": routes.measure,
        "throughput": throughput.measure,
        "latency": latency.measure,
        "webhooks": webhooks.measure,
        "crowds": crowds.measure,
    }


def main(arguments: Sequence[str]) -> None:
    from django.core.management import call_command
    from django.db import connection

    from tests.bench import system

    with connection.cursor() as cursor:
        # Whatever state of the project made it before.
        cursor.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    call_command("migrate", verbosity=0)
    known = sections()
    wanted = [word for word in arguments if word in known] or list(known)
    words = [word for word in arguments if word not in known]
    folder = Path(os.environ["STATE_DIR"]) / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    with system.provider(folder) as provider:
        os.environ |= {f"{name}_BASE_URL": provider.url for name in ("MODASH", "KEYAPI", "MEMORIES")}
        for name in wanted:
            known[name](folder, provider, words)
    print(f"\n{(time.monotonic() - began) / 60:.0f} minutes in all")


if __name__ == "__main__":
    os.environ["ENV_FILE"] = os.devnull
    environment.prepare()
    os.environ["STATE_DIR"] = str(Path(".local/bench").resolve())
    os.environ["STORAGE_DIR"] = str(Path(os.environ["STATE_DIR"]) / "pictures")
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    for name in OTHERS:
        # It empties what it measures with.
        os.environ.pop(name, None)
    with suppress(KeyboardInterrupt), embedded.services():
        import django

        django.setup()
        main(sys.argv[1:])
