"""Gives a room's files one small fault at a time, and lists those that no test notices: `python -m tests.mutants ROOM
[SAMPLE [SKIPPED]]`.

A survivor is a question and not a verdict: some faults change nothing that can be observed. SAMPLE limits the run to so many
random faults, always the same ones, evenly from the room's files; SKIPPED leaves out so many of these that earlier runs tried.
A fault with which a test has no end is listed as well.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import islice, zip_longest
from pathlib import Path
from random import Random

from tests.mutants import plugin, scratch
from tests.mutants.changes import Change, changes_of
from tests.mutants.rooms import ROOMS

LISTED = (plugin.SURVIVES, plugin.OUT_OF_TIME, scratch.ENDED, plugin.SPOILED)


def main(name: str, sample: int | None = None, skipped: int = 0) -> int:
    room = ROOMS[name]
    changes = sampled([changes_of(Path(path), (scratch.CHECKOUT / path).read_text()) for path in room.files], sample)
    with scratch.scratch(room.tests) as copy:
        try:
            listed = [line for each in copy.verdicts(changes[skipped:]) if (line := reported(copy.folder, *each))]
        except scratch.TestsFail as error:
            say(str(error), "The tests fail without any fault.")
            return 1
        say(f"\n{len(changes) - skipped} faults, {len(listed)} of which no test noticed:", *listed)
        say("\nTests that failed once and then passed:", *copy.unsteady())
    return 0


def reported(folder: Path, change: Change, verdict: str, seconds: float) -> str:
    """Returns the fault's description if no test noticed it, else an empty text."""
    described = change.described((folder / change.path).read_text())
    say(f"{seconds:5.1f} s  {described}: {verdict}")
    return described if verdict in LISTED else ""


def sampled(by_file: Sequence[Sequence[Change]], most: int | None) -> list[Change]:
    """Returns so many changes, as many of each file as of any other while they last; all of them where none are counted."""
    chance = Random(0)
    mixed = [chance.sample(changes, len(changes)) for changes in by_file]
    rounds = (each for taken in zip_longest(*mixed) for each in taken if each is not None)
    return list(islice(rounds, most))


def say(*lines: str) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], *map(int, sys.argv[2:])))
