"""A thousand events, while workers and Redis are killed and the receiver refuses every third: each arrives, under its id."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from tests import processes, programs
from tests.accounts.receiving import EveryThird, receiver
from tests.processes import Sightline, wait_until

EVENTS = 1000
# A killed worker's deliveries are due again when their leases pass.
PATIENCE_SECONDS = 150


def recorded(sightline: Sightline, url: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.accounts.recording", url, str(EVENTS)]
    environment = os.environ | sightline.environment
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def pending(sightline: Sightline) -> int:
    [[count]] = sightline.rows("SELECT count(*) FROM accounts_delivery WHERE state <> 'delivered'")
    return int(count)


@pytest.mark.chaos
def test_every_event_arrives_though_workers_and_redis_are_killed() -> None:
    told = {
        "OUTBOUND_ALLOW": "127.0.0.0/8",
        "WEBHOOK_PAUSES": "1,1,1,1,1,1,1,1,1,1,1,1",
        "WEBHOOK_TARGET_FAILURES_PER_MINUTE": "100000",
    }
    with (
        programs.state_folder() as folder,
        processes.started(folder, **told) as sightline,
        receiver(EveryThird()) as it,
        recorded(sightline, it.url) as recording,
    ):
        dispatcher = [sightline.start_dispatcher(f"webhooks-{number}") for number in range(2)]
        wait_until(lambda: len(it.heard) > 200)
        dispatcher[0].start_again()
        wait_until(lambda: len(it.heard) > 400)
        with sightline.valkey.away():
            dispatcher[1].start_again()
            wait_until(lambda: len(it.heard) > 600)
        dispatcher[0].start_again()
        said, _ = recording.communicate(timeout=60)
        ids = json.loads(said)
        wait_until(lambda: not pending(sightline), seconds=PATIENCE_SECONDS)
    assert len(ids) == EVENTS
    assert {heard.id for heard in it.heard} == set(ids)
    assert len({(heard.id, heard.body) for heard in it.heard}) == EVENTS
