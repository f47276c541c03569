"""Faults are given where a test could notice them, and samples leave no file of a room out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants.__main__ import CHECKOUT, ROOMS, sampled
from tests.mutants.changes import changes_of

SOURCE = """
@dataclass(frozen=True, kw_only=True, slots=1 + 1)
class Held:
    most: int = 5

    @transaction.atomic
    @retry(times=3, is_quick=not False)
    def more(self) -> bool:
        return self.most > 1
"""


def test_words_within_decorators_stay_but_a_transaction_may_go() -> None:
    becomes = [(SOURCE[change.begin : change.end], change.becomes) for change in changes_of(Path("held.py"), SOURCE)]
    assert sorted(becomes) == [(" > ", " >= "), ("1", "2"), ("5", "6"), ("@transaction.atomic", "")]


def test_a_sample_takes_evenly_from_all_files_and_always_the_same() -> None:
    many, few = (changes_of(Path(name), f"x = {list(range(count))}") for name, count in (("a.py", 200), ("b.py", 3)))
    chosen = sampled([many, few], 20)
    assert [str(change.path) for change in chosen].count("b.py") == 3
    assert len(chosen) == 20
    assert chosen == sampled([many, few], 20)
    assert len(sampled([many, few], None)) == len(many) + len(few)


@pytest.mark.parametrize("name", ROOMS)
def test_a_room_names_files_that_can_be_changed_and_tests_that_exist(name: str) -> None:
    room = ROOMS[name]
    assert all(changes_of(Path(path), (CHECKOUT / path).read_text()) for path in room.files)
    assert all((CHECKOUT / path).exists() for path in room.tests)
