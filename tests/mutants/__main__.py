"""Gives a room's files one small fault at a time, and lists those that no test notices: `python -m tests.mutants ROOM
[SAMPLE]`.

A survivor is a question and not a verdict: some faults change nothing that can be observed. SAMPLE limits the run to so many
random faults, always the same ones, evenly from the room's files. Each fault costs a run of the room's tests, in a copy of
the checkout.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice, zip_longest
from pathlib import Path
from random import Random
from shutil import copy2
from tempfile import TemporaryDirectory

from tests.mutants.changes import Change, changes_of

CHECKOUT = Path(__file__).resolve().parents[2]
# A fault may make a test wait for ever.
LONGEST_SECONDS = 240


@dataclass(frozen=True, kw_only=True)
class Room:
    files: tuple[str, ...]
    tests: tuple[str, ...]


ROOMS = {
    "billing": Room(
        files=(
            "billing/ledger.py",
            "billing/audit.py",
            "billing/price_defaults.py",
            "billing/hold.sql",
            "billing/charge_and_release.sql",
        ),
        tests=("tests/billing", "tests/api/test_credits.py", "tests/searches/calls/test_settlement.py"),
    ),
    "lanes": Room(
        files=(
            "searches/lanes/queue.py",
            "searches/lanes/credential_gate.py",
            "searches/lanes/pauses.py",
            "searches/lanes/breaker.py",
            "searches/lanes/claim.sql",
            "searches/lanes/return_from_idle.sql",
            "providers/keyring/resting.py",
        ),
        tests=(
            "tests/searches/lanes/test_queue.py",
            "tests/searches/lanes/test_fairness.py",
            "tests/searches/lanes/test_breaker.py",
            "tests/searches/lanes/test_probes.py",
            "tests/searches/lanes/test_moving_lanes.py",
            "tests/searches/lanes/test_lane_changes.py",
            "tests/searches/lanes/test_resting_keys.py",
            "tests/searches/calls/test_races.py",
            "tests/searches/lanes/test_sweep.py",
        ),
    ),
    "limiter": Room(
        files=(
            "providers/limiter_lane.lua",
            "providers/limiter_tokens.lua",
            "providers/limiter_waiters.lua",
            "providers/limiter.py",
        ),
        tests=(
            "tests/providers/test_limiter.py",
            "tests/providers/test_limiter_guard.py",
            "tests/providers/test_limiter_redis.py",
            "tests/providers/test_limiter_waiters.py",
        ),
    ),
}


def main(name: str, sample: int | None = None) -> int:
    room = ROOMS[name]
    local = CHECKOUT / ".local"
    local.mkdir(exist_ok=True)
    with TemporaryDirectory(prefix="mutants-", dir=local) as folder:
        copy = Path(folder)
        copied_to(copy)
        if not passes(copy, room):
            sys.stdout.write("The tests fail without any fault.\n")
            return 1
        by_file = [changes_of(Path(path), (copy / path).read_text()) for path in room.files]
        changes = sampled(by_file, sample)
        survivors = [change for change in changes if survives(copy, room, change)]
        sys.stdout.write(f"{len(changes)} faults, {len(survivors)} of which no test noticed.\n")
    return 0


def sampled(by_file: Sequence[Sequence[Change]], most: int | None) -> list[Change]:
    """Returns so many changes, as many of each file as of any other while they last; all of them where none are counted."""
    chance = Random(0)
    mixed = [chance.sample(changes, len(changes)) for changes in by_file]
    rounds = (each for taken in zip_longest(*mixed) for each in taken if each is not None)
    return sorted(islice(rounds, most), key=lambda change: (str(change.path), change.begin))


def copied_to(copy: Path) -> None:
    listed = subprocess.run(["git", "ls-files"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    for path in listed.stdout.splitlines():
        (copy / path).parent.mkdir(parents=True, exist_ok=True)
        copy2(CHECKOUT / path, copy / path)


def survives(copy: Path, room: Room, change: Change) -> bool:
    changed = copy / change.path
    before = changed.read_text()
    changed.write_text(change.applied(before))
    try:
        unnoticed = passes(copy, room)
    finally:
        changed.write_text(before)
    if unnoticed:
        sys.stdout.write(f"{change.described(before)}\n")
        sys.stdout.flush()
    return unnoticed


def passes(copy: Path, room: Room) -> bool:
    command = [
        sys.executable,
        "-B",
        "-m",
        "pytest",
        "-x",
        "-q",
        "-p",
        "no:randomly",
        "-p",
        "no:cacheprovider",
        *room.tests,
    ]
    try:
        done = subprocess.run(command, cwd=copy, capture_output=True, timeout=LONGEST_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
