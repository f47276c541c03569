"""The running system answers as its OpenAPI document says: to right and wrong requests that schemathesis makes of the document,
and to chains of requests along its links. `make fuzz` does it for longer.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from config import openapi_links
from tests.api.test_openapi import document
from tests.fuzz import runs
from tests.processes import Sightline

# Of the combinations of each operation's values one in so many is sent, and so many random requests and chains each.
ONE_IN, RANDOM = 24, 3


@pytest.fixture(scope="module")
def system() -> Iterator[Sightline]:
    with runs.system() as running:
        yield running


@pytest.fixture(scope="module")
def outcome(system: Sightline) -> runs.Outcome:
    return runs.run(system, "--generation-deterministic", "--max-examples", str(RANDOM), one_in=ONE_IN)


def test_every_answer_is_as_the_document_says(outcome: runs.Outcome) -> None:
    assert outcome.passed, outcome.said


def test_every_operation_was_asked(outcome: runs.Outcome) -> None:
    asked = {f"{method.upper()} {path}" for path, method, _ in openapi_links.every(document()["paths"])}
    assert asked <= set(outcome.operations)


def test_requests_were_taken_and_refused(outcome: runs.Outcome) -> None:
    assert {200, 201, 202, 204, 400, 401, 404, 405, 409} <= set(outcome.statuses)
    assert outcome.links
