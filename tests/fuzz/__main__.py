"""Fuzzes the API for so many minutes: `python -m tests.fuzz [MINUTES [SEED]]`. The seed is printed."""

from __future__ import annotations

import os
import secrets
import sys
import tempfile
from collections.abc import Sequence

import django

from config import environment

MINUTES = 10


def main(minutes: int = MINUTES, seed: int = 0) -> int:
    from tests.fuzz import runs

    seed = seed or secrets.randbelow(10**9)
    print(f"Fuzzing for {minutes} minutes; SEED={seed} repeats this run.", flush=True)
    with runs.system() as running:
        outcome = runs.run(running, "--seed", str(seed), "--max-time", str(60 * minutes))
    print(outcome.said)
    print(
        f"{outcome.cases:,} requests to {len(outcome.operations)} methods of paths, along {len(outcome.links)} links:"
    )
    print(", ".join(f"{count:,} times {status}" for status, count in sorted(outcome.statuses.items())))
    return 0 if outcome.passed else 1


def prepared(arguments: Sequence[str]) -> int:
    """Runs with settings that name nothing of this machine's."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"ENV_FILE": os.devnull, "DJANGO_SETTINGS_MODULE": "config.settings", "STATE_DIR": folder}
        environment.prepare()
        django.setup()
        return main(*map(int, arguments))


if __name__ == "__main__":
    sys.exit(prepared(sys.argv[1:]))
