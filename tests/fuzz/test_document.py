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

# Of the combinations of each operation's values one in so many is sent, and so many random requests each.
ONE_IN, RANDOM = 24, 3
# Links of different kinds that are followed, and suites of chains of requests that are run at the most until they are. A suite
# has so many chains, but ends early when the system answers a request otherwise than it did before, as it does after changes.
ENOUGH_LINKS, MOST_SUITES, CHAINS = 6, 8, 20


@pytest.fixture(scope="module")
def system() -> Iterator[Sightline]:
    with runs.system() as running:
        yield running


@pytest.fixture(scope="module")
def suites(system: Sightline) -> list[runs.Outcome]:
    """Runs suites of chains that have right requests alone: most chains of others end at once with a refusal."""
    done: list[runs.Outcome] = []
    while len(followed(done)) < ENOUGH_LINKS and len(done) < MOST_SUITES:
        limits = ["--phases", "stateful", "--mode", "positive", "--max-examples", str(CHAINS)]
        done.append(runs.run(system, *limits, "--seed", str(len(done) + 1)))
    return done


def followed(suites: list[runs.Outcome]) -> set[str]:
    return {link for suite in suites for link in suite.links}


@pytest.fixture(scope="module")
def outcome(suites: list[runs.Outcome], system: Sightline) -> runs.Outcome:
    """Asks after the chains, which thus find the same rows in every run."""
    limits = ["--phases", "examples,coverage,fuzzing", "--max-examples", str(RANDOM), "--generation-deterministic"]
    return runs.run(system, *limits, one_in=ONE_IN)


def test_every_answer_is_as_the_document_says(outcome: runs.Outcome) -> None:
    assert outcome.passed, outcome.said


def test_every_operation_was_asked(outcome: runs.Outcome) -> None:
    asked = {f"{method.upper()} {path}" for path, method, _ in openapi_links.every(document()["paths"])}
    assert asked <= set(outcome.operations)


def test_requests_were_taken_and_refused(outcome: runs.Outcome) -> None:
    assert {200, 201, 202, 204, 400, 401, 404, 405, 409} <= set(outcome.statuses)


def test_every_answer_along_links_is_as_the_document_says(suites: list[runs.Outcome]) -> None:
    assert all(suite.passed for suite in suites), "\n".join(suite.said for suite in suites)


def test_links_of_several_kinds_were_followed(suites: list[runs.Outcome]) -> None:
    assert len(followed(suites)) >= ENOUGH_LINKS
