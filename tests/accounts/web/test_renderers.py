"""A cell is a text and nothing that a spreadsheet runs, whatever separator it is set to."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from accounts.web.renderers import CSVRenderer, cell

FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "＝1",
    "﹦1",
    " =1+1",
    '"=1+1',
    "\u200b=1+1",
    "\ufeff=1",
    "\u3000＋1",
    "\x0b=1",
]
# Texts that are mostly of the characters that matter.
TEXTS = st.text(
    st.sampled_from("=+-@＝＋－＠;,'\"\t\r\n \u200b\xa0a1é🎈") | st.characters(exclude_categories=["Cs", "Cc"])
)
VALUES = (
    TEXTS
    | st.integers()
    | st.booleans()
    | st.none()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.lists(TEXTS)
)


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("before", ["", ";", "a;", "a; ", "a;;", "\t", "a\t", "\r", "a\r\n", "\n", 'a;"'])
def test_a_formula_begins_no_cell(before: str, formula: str) -> None:
    shown = str(cell(before + formula))
    for separator in (";", "\t", "\r", "\n"):
        for part in shown.split(separator):
            assert part.strip(' "\u200b\ufeff\u3000\x0b')[:1] not in tuple("=+-@＝＋－＠﹦") or not part
    assert shown.replace("'", "") == before + formula


@pytest.mark.parametrize("value", ["a;b", "5", "-5", "-5.25", "a=b", "a-b", "x@example.com", "", "a\tb"])
def test_an_ordinary_text_is_unchanged(value: str) -> None:
    assert cell(value) == value


def test_a_formula_within_a_list_or_an_object_begins_no_cell() -> None:
    assert cell(["a;=1+1"]) == '["a;\'=1+1"]'
    assert cell({"name": "a;@x"}) == '{"name": "a;\'@x"}'


@given(st.lists(st.fixed_dictionaries({"a": VALUES, "b": VALUES}), max_size=5))
def test_a_table_is_read_back_as_it_was_but_for_apostrophes(rows: list[dict[str, Any]]) -> None:
    file = b"".join(CSVRenderer.pieces([rows], ["a", "b"])).decode()
    head, *read = csv.reader(io.StringIO(file, newline=""), strict=True)
    assert head == ["a", "b"]
    assert read == [[str(cell(row["a"])), str(cell(row["b"]))] for row in rows]
    assert file.endswith("\r\n")
    for row in rows:
        for value in row.values():
            if isinstance(value, str):
                assert str(cell(value)).replace("'", "") == value.replace("'", "")


@given(TEXTS)
def test_no_text_begins_a_formula_whatever_separates_cells(text: str) -> None:
    for separator in (";", "\t", "\r", "\n"):
        for part in str(cell(text)).split(separator):
            begins = part.lstrip(' "\xa0\u200b')[:1] in tuple("=+-@＝＋－＠")
            assert not begins or (cell(text) == text == part.strip() and text.strip("-").replace(".", "").isdecimal())


def test_a_number_stays_a_number() -> None:
    assert [cell(value) for value in (-1.5, -1, 1e-7, -2e30, "-1.5", "-1")] == [-1.5, -1, 1e-7, -2e30, "-1.5", "-1"]


@pytest.mark.parametrize("text", [";" * 500_000, "a" + " ;" * 250_000, "a;" + "-" * 500_000])
def test_a_long_text_is_looked_through_once(text: str) -> None:
    """A check that looked at the rest again from each character on would take an hour."""
    assert str(cell(text)).replace("'", "") == text
