"""Tests the limits of `make shape`, and its way of counting."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.shape import LONGEST_FUNCTION, ROOT, Shape, longest_chain

SHAPE = Shape()


def test_no_function_is_longer_than_fifty_lines() -> None:
    assert [place for place, lines in SHAPE.functions().items() if lines > LONGEST_FUNCTION] == []


def test_no_modules_import_each_other_in_a_circle() -> None:
    assert SHAPE.circles() == []


def test_no_two_classes_have_one_name() -> None:
    assert SHAPE.classes_with_one_name() == {}


@pytest.mark.parametrize(
    ("graph", "nodes"),
    [
        ({"a": set()}, 1),
        ({"a": {"b", "c"}, "b": {"c"}, "c": set()}, 3),
        ({"a": {"b"}, "b": {"c"}, "c": {"b"}}, 3),
    ],
)
def test_a_chain_is_as_long_as_its_modules(graph: dict[str, set[str]], nodes: int) -> None:
    assert longest_chain(graph) == nodes


def test_a_checkout_is_measured_by_its_files_alone(tmp_path: Path) -> None:
    for app in ("config", "billing", "providers", "accounts", "searches", "tests"):
        (tmp_path / app).mkdir()
    (tmp_path / "searches" / "models.py").write_text("# A comment.\n\nclass Row:\n    pass\n")
    (tmp_path / "searches" / "queue.py").write_text(
        "from searches.models import Row\n\n\nclass Queue(Row):\n    def take(self):\n        ...\n"
    )
    (tmp_path / "billing" / "models.py").write_text("class Row: ...\n")
    shape = Shape(tmp_path)
    assert shape.functions() == {"searches/queue.py:5 take": 2}
    assert shape.imports("searches") == {"searches.models": set(), "searches.queue": {"searches.models"}}
    assert shape.classes_with_one_name() == {"Row": ["searches/models.py", "billing/models.py"]}
    assert shape.code_lines() == 7


def test_the_command_prints_a_row_for_each_figure() -> None:
    command = [sys.executable, "-m", "tests.shape"]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60).stdout
    assert "circles of modules, in all apps           none" in printed
