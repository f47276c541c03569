"""Tests the connection of workers and beat to Redis, their broker."""

from __future__ import annotations

import socket

import pytest
from pytest_django import Settings

from config.celery import app
from tests.config.conftest import As

# Errors of a broker that refuses.
REFUSALS = {
    "a right to take is lacking": "-brpop",
    "a right to put is lacking": "-lpush",
    "the password changed": "resetpass",
}


class Enough(Exception):
    pass


def test_a_lost_broker_is_connected_to_again_within_tenths_of_a_second() -> None:
    pauses: list[float] = []

    def note(error: Exception, pause: float) -> None:
        pauses.append(pause)
        if len(pauses) == 3:
            raise Enough

    with socket.create_server(("127.0.0.1", 0)) as gone:
        url = f"redis://127.0.0.1:{gone.getsockname()[1]}"
    with app.connection_for_read(url=url) as broker, pytest.raises(Enough):
        broker.ensure_connection(note)
    assert pauses == pytest.approx([0.1, 0.2, 0.3])


@pytest.mark.parametrize("right", REFUSALS.values(), ids=REFUSALS)
def test_a_broker_that_answers_and_refuses_is_tried_until_it_accepts(
    as_account: As, settings: Settings, right: str
) -> None:
    refusals: list[Exception] = []

    def note(error: Exception, pause: float) -> None:
        refusals.append(error)
        if len(refusals) == 2:
            as_account("~*", "&*", "+@all")

    as_account("~*", "&*", "+@all", right)
    with app.connection_for_read(url=settings.REDIS_URL) as broker:
        assert broker.ensure_connection(note).connected
    assert len(refusals) == 2
