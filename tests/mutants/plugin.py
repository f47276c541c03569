"""A plugin of pytest for one trial: runs the tests that noticed earlier faults first, and believes a failure that comes twice.

A test that fails once and then passes is unsteady. It says nothing of the fault, and is noted with its traceback.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest
from _pytest.runner import runtestprotocol

# The files of one trial's folder: names of tests to run first, the test that failed, what was unsteady.
FIRST, FAILED, UNSTEADY = "first", "failed", "unsteady"
FOLDER = "MUTANTS_FOLDER"


def notes(name: str) -> Path:
    return Path(os.environ[FOLDER]) / name


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    first = notes(FIRST).read_text().splitlines()
    place = {name: number for number, name in enumerate(first)}
    items.sort(key=lambda item: place.get(item.nodeid, len(first)))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = runtestprotocol(item, nextitem=nextitem, log=False)
    if failures(reports):
        cast("pytest.Function", item)._initrequest()
        before, reports = reports, runtestprotocol(item, nextitem=nextitem, log=False)
        note(item.nodeid, before, reports)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def failures(reports: Sequence[pytest.TestReport]) -> list[pytest.TestReport]:
    return [report for report in reports if report.failed]


def note(name: str, before: Sequence[pytest.TestReport], after: Sequence[pytest.TestReport]) -> None:
    if failures(after):
        notes(FAILED).write_text(name)
        return
    with notes(UNSTEADY).open("a") as file:
        file.writelines(f"{name}\n{report.longreprtext}\n" for report in failures(before))
