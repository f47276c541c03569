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


def test_a_greedy_tenant_silences_nobody_and_is_refused(bystander: Bystander, alices_key: str, tmp_path: Path) -> None:
    told, address = tmp_path / "statuses.json", urlsplit(bystander.url)
    callers = [sys.executable, "-m", "tests.bench.crowd_callers", GREEDY_THREADS, str(told)]
    with programs.running([*callers, str(address.hostname), str(address.port), alices_key, str(uuid4()), ""]):
        # It makes way for others, so that it hardly reaches the rate of a hundred a second that it has by default.
        bystander.system.rows("UPDATE accounts_tenant SET requests_per_second = 10 WHERE name = 'Alice'")
        wait_until(told.exists)
        with bystander.watching():
            wait_until(lambda: {"404", "429"} <= json.loads(told.read_text()).keys())
        statuses = json.loads(told.read_text())
    # What was under way ends, and nobody of the same address is refused any more.
    wait_until(lambda: httpx.get(f"{bystander.url}/v1/searches", timeout=20).status_code == 401)
    bystander.system.rows("UPDATE accounts_tenant SET requests_per_second = NULL WHERE name = 'Alice'")
    assert statuses["404"], "its searches are answered meanwhile"
    assert "500" not in statuses
