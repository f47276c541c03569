"""An attack by one tenant with two hundred threads that ask without a pause."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from tests import programs
from tests.attack.conftest import Bystander
from tests.bench.crowd_callers import GREEDY_THREADS
from tests.processes import wait_until

pytestmark = pytest.mark.chaos
# Requests of the greedy tenant that are answered while others are watched: those of more than a second of its rate.
SERVED = 300


def test_a_greedy_tenant_silences_nobody_and_is_served_meanwhile(
    bystander: Bystander, alices_key: str, tmp_path: Path
) -> None:
    told, address = tmp_path / "statuses.json", urlsplit(bystander.url)
    callers = [sys.executable, "-m", "tests.bench.crowd_callers", GREEDY_THREADS, str(told)]
    with programs.running([*callers, str(address.hostname), str(address.port), alices_key, str(uuid4()), ""]):
        wait_until(told.exists)
        with bystander.watching():
            # It makes way for others, so that it hardly reaches the rate that it may have.
            wait_until(lambda: json.loads(told.read_text()).get("404", 0) >= SERVED)
        statuses = json.loads(told.read_text())
    # What was under way ends, and nobody of the same address is refused any more.
    wait_until(lambda: httpx.get(f"{bystander.url}/v1/searches", timeout=20).status_code == 401)
    assert "500" not in statuses
