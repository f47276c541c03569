"""A cell is a text and nothing that a spreadsheet runs, whatever separator it is set to."""

from __future__ import annotations

import pytest

from accounts.web.renderers import cell

FORMULAS = ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "＝1", " =1+1", '"=1+1']


@pytest.mark.parametrize("formula", FORMULAS)
@pytest.mark.parametrize("before", ["", ";", "a;", "a; ", "a;;", "\t", "a\t", "\r", "a\r\n", "\n", 'a;"'])
def test_a_formula_begins_no_cell(before: str, formula: str) -> None:
    shown = str(cell(before + formula))
    for separator in (";", "\t", "\r", "\n"):
        for part in shown.split(separator):
            assert part.strip(' "')[:1] not in tuple("=+-@＝＋－＠") or not part
    assert shown.replace("'", "") == before + formula


@pytest.mark.parametrize("value", ["a;b", "5", "-5", "-5.25", "a=b", "a-b", "x@example.com", "", "a\tb"])
def test_an_ordinary_text_is_unchanged(value: str) -> None:
    assert cell(value) == value


def test_a_formula_within_a_list_or_an_object_begins_no_cell() -> None:
    assert cell(["a;=1+1"]) == '["a;\'=1+1"]'
    assert cell({"name": "a;@x"}) == '{"name": "a;\'@x"}'
