"""Gives a room's files one small fault at a time, and lists those that no test notices: `python -m tests.mutants ROOM
[SAMPLE [SKIPPED]]`.

A survivor is a question and not a verdict: some faults change nothing that can be observed. SAMPLE limits the run to so many
random faults, always the same ones, evenly from the room's files; SKIPPED leaves out so many of these that earlier runs tried.
A fault that makes tests wait for longer than a trial may take is listed as well.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import islice, zip_longest
from pathlib import Path
from random import Random

from tests.mutants.changes import Change, changes_of
from tests.mutants.rooms import ROOMS
from tests.mutants.scratch import CHECKOUT, Scratch, scratch


def main(name: str, sample: int | None = None, skipped: int = 0) -> int:
    room = ROOMS[name]
    changes = sampled([changes_of(Path(path), (CHECKOUT / path).read_text()) for path in room.files], sample)[skipped:]
    with scratch(room.tests) as copy:
        if not copy.passes():
            return 1
        survivors = [line for change in changes if (line := tried(copy, change))]
        say(f"\n{len(changes)} faults, {len(survivors)} of which no test noticed:", *survivors)
        say(f"\nTests that failed once and then passed:\n{copy.unsteady() or 'none'}")
    return 0


def sampled(by_file: Sequence[Sequence[Change]], most: int | None) -> list[Change]:
    """Returns so many changes, as many of each file as of any other while they last; all of them where none are counted."""
    chance = Random(0)
    mixed = [chance.sample(changes, len(changes)) for changes in by_file]
    rounds = (each for taken in zip_longest(*mixed) for each in taken if each is not None)
    return list(islice(rounds, most))


def tried(copy: Scratch, change: Change) -> str:
    """Returns the fault's description if no test noticed it, else an empty text."""
    described = change.described((copy.folder / change.path).read_text())
    outcome = copy.tried(change)
    say(f"{outcome.seconds:5.1f} s  {described}: {outcome}")
    return described if outcome.passed or outcome.is_out_of_time else ""


def say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
