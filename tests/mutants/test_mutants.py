"""Faults are given where a test could notice them, samples leave out no file of a room, and what fails twice decides a trial."""

from __future__ import annotations

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
UNSTEADY = """
from itertools import count
tries = count()
def test_steady(): pass
def test_unsteady(): assert next(tries)
def test_broken(): assert False
def test_later(): raise SystemExit
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


def test_a_trial_ends_at_the_test_that_fails_twice_and_notes_the_one_that_failed_once(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(UNSTEADY)
    (tmp_path / plugin.FIRST).write_text("test_it.py::test_unsteady")
    (tmp_path / plugin.FAILED).touch()
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-c", os.devnull, "--rootdir", ".", "-p", "no:randomly"]
    done = subprocess.run(
        [*command, "-p", "no:django", "-p", "tests.mutants.plugin", "test_it.py"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT), plugin.FOLDER: str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 failed, 2 passed" in done.stdout
    assert (tmp_path / plugin.FAILED).read_text() == "test_it.py::test_broken"
    assert (tmp_path / plugin.UNSTEADY).read_text().startswith("test_it.py::test_unsteady\n")
