"""The workers' and beat's connection to Redis as their broker."""

from __future__ import annotations

import socket

import pytest

from config.celery import app


class Enough(Exception):
    pass


def test_a_broker_that_went_is_sought_again_within_tenths_of_a_second() -> None:
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
