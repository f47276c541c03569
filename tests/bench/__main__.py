"""Measures; asserts nothing. `python -m tests.bench [lane|newcomer|latency] [words of a setting's name]`.

Servers, data and logs are the bench's own, in `.local/bench`. Figures of one run compare with each other; this machine's
other work shows in them.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from config import embedded

SECTIONS = ("lane", "newcomer", "latency")


def main(arguments: list[str]) -> None:
    from django.core.management import call_command

    from tests.bench import lanes, latency, system

    call_command("migrate", verbosity=0)
    wanted = [word for word in arguments if word in SECTIONS] or SECTIONS
    words = [word for word in arguments if word not in SECTIONS]
    folder = Path(os.environ["STATE_DIR"]) / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    with system.provider(folder) as provider:
        os.environ["MODASH_BASE_URL"] = provider.url
        if "lane" in wanted:
            lanes.measure(folder, provider, words)
        if "newcomer" in wanted:
            lanes.newcomer(folder, provider)
        if "latency" in wanted:
            latency.measure(folder, provider)


if __name__ == "__main__":
    os.environ.setdefault("STATE_DIR", str(Path(".local/bench").resolve()))
    os.environ.setdefault("STORAGE_DIR", str(Path(os.environ["STATE_DIR"]) / "pictures"))
    os.environ["DJANGO_SETTINGS_MODULE"] = "config.settings"
    os.environ.setdefault("LOG_LEVEL", "WARNING")
    with embedded.services():
        import django

        django.setup()
        main(sys.argv[1:])
