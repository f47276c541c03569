"""Attacks by readers of large files: those that leave, those that take nothing, and a database that leaves in the middle."""

from __future__ import annotations

import json
import time
from base64 import b64encode
from collections.abc import Iterator

import httpx
import pytest

from tests.attack.conftest import Bystander
from tests.attack.test_clients_that_stall import held
from tests.processes import Sightline, wait_until
from tests.searches.samples import jpeg

pytestmark = pytest.mark.chaos
RESULTS = 30_000
# A result of two kilobytes, as creators have.
FILL = """
    INSERT INTO searches_result (id, search_id, lookup_id, rank, sequence, type, external_id, title, detail, raw, observed_at)
    SELECT gen_random_uuid(), search_id, id, n, n, 'creator', n, 'A title', %s, '{}', now()
    FROM searches_lookup, generate_series(1, %s) n WHERE search_id = %s
"""
DETAIL = json.dumps({"account_category": "a" * 2000})
NDJSON = {"Accept": "application/x-ndjson"}
# The sessions of the web server, and how many of them have anything to do.
SESSIONS = (
    "SELECT count(*) > 0, count(*) FILTER (WHERE state <> 'idle') FROM pg_stat_activity WHERE application_name = 'web'"
)
ALL_IDLE = [(True, 0)]
# The file of all results may take so much more memory than that of a tenth of them.
MORE_BYTES = 30_000_000


@pytest.fixture(scope="module")
def client(system: Sightline, bystander: Bystander, alices_key: str) -> Iterator[httpx.Client]:
    headers = {"Authorization": f"Bearer {alices_key}"}
    with httpx.Client(base_url=bystander.url, headers=headers, timeout=60, trust_env=False) as client:
        yield client


def filled(system: Sightline, client: httpx.Client, count: int) -> str:
    """Returns the path of the results of a search that has so many."""
    system.manage("store_credential", "Alice", "modash", "--from-env", "KEY", KEY="alices-modash-key")
    order = {"image": {"base64": b64encode(jpeg()).decode()}, "lookups": [{"source": "tiktok-creators"}], "max_age": 0}
    id = client.post("/v1/searches", json=order).json()["id"]
    system.rows(FILL, DETAIL, count, id)
    system.rows("UPDATE searches_search SET results_count = %s WHERE id = %s", count, id)
    return f"/v1/searches/{id}/results"


@pytest.fixture(scope="module")
def path(system: Sightline, client: httpx.Client) -> str:
    return filled(system, client, RESULTS)


def most_bytes(bystander: Bystander, client: httpx.Client, path: str) -> tuple[int, int]:
    """Returns the lines of a file, and the most memory of a web process while it was read."""
    lines = most = 0
    with client.stream("GET", path, headers=NDJSON) as answer:
        for piece in answer.iter_raw():
            lines += piece.count(b"\n")
            most = max(most, *(process.memory_info().rss for process in bystander.web_processes()))
    return lines, most


def test_a_file_takes_no_more_memory_for_more_rows(
    system: Sightline, bystander: Bystander, client: httpx.Client, path: str
) -> None:
    small = filled(system, client, RESULTS // 10)
    most_bytes(bystander, client, small)
    lines, few = most_bytes(bystander, client, small)
    assert lines == RESULTS // 10
    with bystander.watching():
        lines, many = most_bytes(bystander, client, path)
    assert lines == RESULTS
    assert many < few + MORE_BYTES


def test_readers_that_leave_keep_nothing(
    system: Sightline, bystander: Bystander, client: httpx.Client, path: str
) -> None:
    with bystander.watching():
        for _ in range(60):
            with client.stream("GET", path, headers=NDJSON) as answer:
                assert answer.status_code == 200
                next(answer.iter_raw())
        wait_until(lambda: system.rows(SESSIONS) == ALL_IDLE)
    with client.stream("GET", path, headers=NDJSON) as answer:
        assert answer.status_code == 200


def test_readers_that_take_nothing_hold_no_connection_to_the_database(
    system: Sightline, bystander: Bystander, client: httpx.Client, path: str
) -> None:
    lines = (
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Accept: text/csv",
        f"Authorization: {client.headers['Authorization']}",
    )
    with bystander.watching(), held(bystander.url, "\r\n".join(lines) + "\r\n\r\n", count=20, receive_bytes=4096):
        time.sleep(6)
        wait_until(lambda: system.rows(SESSIONS) == ALL_IDLE)


def test_a_file_whose_database_goes_away_does_not_look_complete(
    system: Sightline, bystander: Bystander, client: httpx.Client, path: str
) -> None:
    rest = b""
    with client.stream("GET", path, headers=NDJSON) as answer:
        pieces = answer.iter_raw()
        next(pieces)
        with system.postgres.away():
            for piece in pieces:
                rest = rest[-1000:] + piece
    assert json.loads(rest.splitlines()[-1])["error"]["code"] == "not_ready"
    wait_until(lambda: client.get(path, params={"limit": 1}).status_code == 200)
