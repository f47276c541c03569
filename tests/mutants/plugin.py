"""A plugin of pytest that runs the collected tests once for each fault of a list, in one process, each time until one fails.

A fault is noticed only if a test fails twice with it, then passes without it, and then fails twice with it again. If the test
fails without the fault as well, the process is spoiled and ends, and another one tries the fault once more. A fault in a function
is tried on the tests that call it. The tests that noticed earlier faults of a file run first.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Timer
from typing import Any, cast

import hypothesis
import pytest
from _pytest.runner import runtestprotocol

from tests.mutants import in_place
from tests.mutants.changes import Change
from tests.mutants.reach import Reach

# The files of a run's folder: the faults to try, and a line for each that is tried.
CHANGES, DONE = "changes", "done"
FOLDER = "MUTANTS_FOLDER"
# A fault may make a test wait for ever. A test may take five times as long as without the fault, and 20 s.
TIMES, MORE_SECONDS = 5, 20
# Verdicts on a fault beside the name of the test that noticed it.
OUT_OF_TIME = "has no end"
SURVIVES, NOT_VIABLE, NOT_IN_PLACE = "SURVIVES", "is no program", "is no fault that a running process can be given"
# Verdicts on the tests.
STEADY, UNSTEADY, BROKEN, SPOILED = "steady", "unsteady", "broken", "spoiled"


def pytest_configure() -> None:
    """Keeps Hypothesis from looking for the simplest example that fails, which takes minutes."""
    phases = (hypothesis.Phase.explicit, hypothesis.Phase.reuse, hypothesis.Phase.generate)
    hypothesis.settings.register_profile("mutants", phases=phases)
    hypothesis.settings.load_profile("mutants")


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop(session: pytest.Session) -> bool:
    _Loop(session.items).run()
    return True


@dataclass
class _Loop:
    items: list[pytest.Item]
    last: pytest.Item | None = None
    noticed: dict[str, Counter[pytest.Item]] = field(default_factory=lambda: defaultdict(Counter))
    reach: Reach = field(default_factory=Reach)
    # How long each test took without a fault, and the fault that is tried now.
    seconds: dict[pytest.Item, float] = field(default_factory=dict)
    number: int | None = None

    def run(self) -> None:
        begin = time.monotonic()
        changes = [
            (number, Change(Path(path), *rest)) for number, path, *rest in json.loads(folder(CHANGES).read_text())
        ]
        with self.reach.watching({change.path for _, change in changes}):
            failed = self.first_that_fails(self.items)
        if failed is not None:
            note(verdict=BROKEN, why=f"{failed.nodeid}\n{self.failures(failed)}")
        else:
            note(verdict=STEADY, seconds=time.monotonic() - begin)
            for number, change in changes:
                note(number=number)
                self.number, begin = number, time.monotonic()
                verdict = self.verdict(change)
                note(number=number, verdict=verdict, seconds=time.monotonic() - begin)
                if verdict == SPOILED:
                    break
        self.tear_down(None)

    def verdict(self, change: Change) -> str:
        order = self.noticed[str(change.path)]
        try:
            waiting = sorted(
                self.that_reach(change), key=lambda item: (-order[item] / self.seconds[item], self.seconds[item])
            )
            while failed := self.noticing(change, waiting):
                if self.failures(failed) and self.failures(failed):
                    return SPOILED
                if self.noticing(change, [failed]):
                    order[failed] += 1
                    return failed.nodeid
                waiting = waiting[waiting.index(failed) + 1 :]
        except in_place.NotViable:
            return NOT_VIABLE
        except in_place.NotInPlace:
            return NOT_IN_PLACE
        return SURVIVES

    def noticing(self, change: Change, items: Sequence[pytest.Item]) -> pytest.Item | None:
        with in_place.given(change):
            failed = self.first_that_fails(items)
            self.tear_down(failed)
            return failed

    def that_reach(self, change: Change) -> list[pytest.Item]:
        """Returns the tests that could notice the fault."""
        name = in_place.place(change, change.path.read_text()) if change.path.suffix == ".py" else ""
        tests = self.reach.tests(change.path, name) if isinstance(name, str) else None
        return [item for item in self.items if tests is None or item.nodeid in tests]

    def first_that_fails(self, items: Sequence[pytest.Item]) -> pytest.Item | None:
        return next((item for item in items if self.fails(item)), None)

    def fails(self, item: pytest.Item) -> bool:
        before = self.failures(item)
        if before and not self.failures(item):
            note(verdict=UNSTEADY, test=item.nodeid, why=before)
            return False
        return bool(before)

    def failures(self, item: pytest.Item) -> str:
        """Runs a test, and returns why it failed."""
        self.tear_down(item)
        self.last, self.reach.test = item, item.nodeid
        begin = time.monotonic()
        watch = Timer(TIMES * self.seconds.get(item, math.inf) + MORE_SECONDS, self.give_up)
        if self.number is not None:
            watch.start()
        # Its own fixtures end, and those of its module stay for the next test.
        following = cast("pytest.Item", _Sibling(item))
        reports = runtestprotocol(item, log=False, nextitem=following)
        watch.cancel()
        self.seconds.setdefault(item, time.monotonic() - begin)
        return "\n".join(report.longreprtext for report in reports if report.failed)

    def give_up(self) -> None:
        """Ends the process, because a test of it has no end."""
        note(number=self.number, verdict=OUT_OF_TIME, seconds=0)
        os._exit(1)

    def tear_down(self, following: pytest.Item | None) -> None:
        """Ends the fixtures that the following test does not share."""
        if self.last is not None and self.last is not following:
            self.last.session._setupstate.teardown_exact(following)
            self.last = None


class _Sibling:
    """Stands for another test of the same module."""

    def __init__(self, item: pytest.Item) -> None:
        self.item = item

    def listchain(self) -> list[Any]:
        return self.item.listchain()[:-1]


def folder(name: str) -> Path:
    return Path(os.environ[FOLDER]) / name


def note(**values: Any) -> None:
    with folder(DONE).open("a") as file:
        file.write(f"{json.dumps(values)}\n")
