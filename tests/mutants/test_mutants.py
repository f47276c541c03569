"""Faults are given where a test could notice them, samples leave out no file of a room, and what fails twice decides a trial."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutants import plugin
from tests.mutants.__main__ import sampled
from tests.mutants.changes import changes_of
from tests.mutants.rooms import ROOMS
from tests.mutants.scratch import CHECKOUT

SOURCE = """
@dataclass(frozen=True, kw_only=True, slots=1 + 1)
class Held:
    most: int = 5

    @transaction.atomic
    @retry(times=3, is_quick=not False)
    def more(self) -> bool:
        return self.most > 1
"""
QUERIES = """
rows = Hold.objects.filter(own, reference=wanted, open=0).select_for_update()
statement = "SELECT id FROM hold WHERE open > held"
"""
HELD = """
FEW = 3

def is_more(count):
    return count > FEW

def is_less(count):
    return count < FEW

class Most:
    few: int = 5
"""
TESTS = """
from itertools import count
from held import is_less, is_more
tries = count()
def test_unsteady(): assert is_less(2) and next(tries) != 1
def test_more(): assert not is_more(3)
"""


def replaced(name: str, source: str) -> list[tuple[str, str]]:
    return sorted((source[change.begin : change.end], change.becomes) for change in changes_of(Path(name), source))


def test_words_within_decorators_stay_but_a_transaction_may_go() -> None:
    assert replaced("held.py", SOURCE) == [(" > ", " >= "), ("1", "2"), ("5", "6"), ("@transaction.atomic", "")]


def test_a_query_loses_a_condition_or_its_lock_and_its_sql_is_changed_too() -> None:
    assert replaced("held.py", QUERIES) == [
        (".select_for_update()", ""),
        ("0", "1"),
        (">", ">="),
        ("open=0", ""),
        ("reference=wanted,", ""),
    ]


def test_sql_and_lua_lose_a_lock_a_condition_or_a_statement() -> None:
    query = "SELECT id FROM hold\nWHERE amount\n  AND is_open FOR UPDATE;\n"
    assert replaced("held.sql", query) == [
        (" FOR UPDATE", ""),
        ("AND", "OR"),
        ("AND is_open FOR UPDATE", ""),
    ]
    assert replaced("held.lua", "  lane.first = now\n  local x = y\n  save()\n") == [
        ("lane.first = now", ""),
        ("save()", ""),
    ]


def test_a_sample_takes_evenly_from_all_files_and_always_the_same() -> None:
    many, few = (changes_of(Path(name), f"x = {list(range(count))}") for name, count in (("a.py", 200), ("b.py", 3)))
    chosen = sampled([many, few], 20)
    assert [str(change.path) for change in chosen].count("b.py") == 3
    assert len(chosen) == 20
    assert chosen == sampled([many, few], 40)[:20]
    assert len(sampled([many, few], None)) == len(many) + len(few)


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_names_files_that_can_be_changed_and_tests_that_exist(name: str) -> None:
    room = ROOMS[name]
    assert all(changes_of(Path(path), (CHECKOUT / path).read_text()) for path in room.files)
    assert all((CHECKOUT / path).exists() for path in room.tests)


def test_a_room_lacks_no_file_whose_rules_are_in_sql_or_lua() -> None:
    named = {Path(path) for room in ROOMS.values() for path in room.files}
    patterns = ("billing/*.sql", "searches/lanes/*.sql", "providers/*.lua")
    there = {path.relative_to(CHECKOUT) for pattern in patterns for path in CHECKOUT.glob(pattern)}
    assert there <= named


def test_a_fault_is_noticed_by_what_fails_twice_with_it_and_passes_without_it(tmp_path: Path) -> None:
    (tmp_path / "held.py").write_text(HELD)
    (tmp_path / "test_it.py").write_text(TESTS)
    changes = [(number, "held.py", *change) for number, change in enumerate(map(faults, ("> ", "3", "< ", "5")))]
    (tmp_path / plugin.CHANGES).write_text(json.dumps(changes))
    command = [sys.executable, "-m", "pytest", "-q", "-c", os.devnull, "--rootdir", ".", "-p", "no:randomly"]
    subprocess.run(
        [*command, "-p", "no:django", "-p", "tests.mutants.plugin", "test_it.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), plugin.FOLDER: str(tmp_path)},
        check=True,
    )
    lines = [json.loads(line) for line in (tmp_path / plugin.DONE).read_text().splitlines()]
    assert [line["verdict"] for line in lines if "verdict" in line] == [
        plugin.STEADY,
        "test_it.py::test_more",
        "test_it.py::test_more",
        plugin.UNSTEADY,
        plugin.SURVIVES,
        plugin.NOT_IN_PLACE,
    ]


def faults(word: str) -> tuple[int, int, str]:
    """Returns the change of the word in `HELD`."""
    begin = HELD.index(word)
    return begin, begin + len(word), {"> ": ">= ", "3": "2", "< ": "<= ", "5": "6"}[word]
