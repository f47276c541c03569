"""Kills the web server, and now and then PostgreSQL, at random instants while clients send each request with one key until it is
answered: one search and one hold a key. `make chaos ROUNDS=10` kills ten times as often.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from tests import processes, programs
from tests.processes import Sightline, answers, wait_until
from tests.searches.samples import jpeg

KILLS = 12 * int(os.environ.get("ROUNDS") or 1)
# Requests that are under way at each kill.
AT_ONCE = 12
LEASE_SECONDS = 2
PATIENCE_SECONDS = 120
SEARCHES = "SELECT metadata->>'key', count(*) FROM searches_search GROUP BY 1"
HOLDS = """
SELECT (SELECT count(*) FROM billing_hold), (SELECT count(*) FROM billing_entry WHERE kind = 'hold'),
    (SELECT count(*) FROM searches_lookup)
"""
CLAIMED = "SELECT count(*) FROM accounts_idempotencykey"
DONE = f"{CLAIMED} WHERE status = 202"

# A key, the id of its search, and what each attempt came to.
Sent = tuple[str, str, list[Any]]


@pytest.mark.chaos
def test_one_search_and_one_hold_a_key_when_the_web_server_is_killed() -> None:
    seed = int(os.environ.get("SEED") or time.time_ns() % 1_000_000)
    sys.stdout.write(f"SEED={seed}\n")
    random = Random(seed)
    told = {"IDEMPOTENCY_LEASE_SECONDS": str(LEASE_SECONDS), "TENANT_REQUESTS_PER_SECOND": "1000"}
    with programs.state_folder() as folder, processes.started(folder, **told) as sightline:
        sightline.let_alice_in()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            keys = list(all_keys(random))
            sent: list[Sent] = []
            left = 0
            for _ in range(KILLS):
                begun = [pool.submit(send_until_answered, sightline, keys.pop()) for _ in range(AT_ONCE)]
                wait_for_some(sightline, random, sent=len(sent))
                left += kill(sightline, random)
                sent += [each.result() for each in begun]
        report(sent, left)
        hold_one_each(sightline, {key: id for key, id, _ in sent})


def all_keys(random: Random) -> Iterator[str]:
    for _ in range(KILLS * AT_ONCE):
        yield str(UUID(int=random.getrandbits(128)))


def wait_for_some(sightline: Sightline, random: Random, *, sent: int) -> None:
    """Waits until some of the keys that are under way are claimed, or some are done."""
    some, statement = random.randint(1, AT_ONCE), random.choice([CLAIMED, DONE])
    with sightline.session() as session:
        session.autocommit = True
        wait_until(lambda: count_of(session, statement) >= sent + some, pause=0.002)


def count_of(session: psycopg.Connection, statement: str) -> int:
    found = session.execute(statement.encode()).fetchone()
    return int(found[0]) if found else 0


def kill(sightline: Sightline, random: Random) -> int:
    """Returns the claims that a killed web server left."""
    left = 0
    if random.random() < 0.2:
        sightline.postgres.process.kill()  # its supervisor starts it again
    else:
        [web] = [program for program in sightline.programs if program.name == "web"]
        web.start_again()  # it takes seconds
        left = sightline.rows(f"{CLAIMED} WHERE status IS NULL")[0][0]
    wait_until(lambda: answers(sightline.api, "/readyz"))
    return left


def send_until_answered(sightline: Sightline, key: str) -> Sent:
    """Returns the key, the id of its search, and what each attempt came to."""
    order = {"lookups": [{"source": "tiktok-creators", "limit": 2}], "max_age": 0, "metadata": {"key": key}}
    # A picture of its own, so that reading it is a part of each request.
    width = 64 + int(key[:2], 16)
    form: dict[str, Any] = {"image": ("a.jpg", jpeg(width), "image/jpeg"), "request": (None, json.dumps(order))}
    headers = {**sightline.api.headers, "Idempotency-Key": key}
    came: list[Any] = []
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        try:
            answer = httpx.post(f"{sightline.api.base_url}/v1/searches", files=form, headers=headers, timeout=30)
        except httpx.TransportError:
            came.append("broken")
        else:
            if answer.status_code == 202:
                came.append("replayed" if "Idempotent-Replayed" in answer.headers else "done")
                return key, answer.json()["id"], came
            assert answer.status_code in (409, 503), answer.text
            came.append(answer.status_code)
        time.sleep(0.1)
    raise AssertionError(f"the key {key} was not answered: {came}")


def report(sent: list[Sent], left: int) -> None:
    outcomes = Counter(each for _, _, came in sent for each in came)
    sys.stdout.write(f"{KILLS} kills, {len(sent)} keys: {dict(outcomes)}, {left} claims left\n")
    assert left or outcomes["replayed"], "no kill came between a claim and its answer"


def hold_one_each(sightline: Sightline, ids: dict[str, str]) -> None:
    assert sightline.rows(SEARCHES) == sightline.rows(f"{SEARCHES} HAVING count(*) = 1")
    assert {key for key, _ in sightline.rows(SEARCHES)} == set(ids)
    assert sightline.rows("SELECT count(DISTINCT id) FROM searches_search") == [(len(ids),)]
    assert {str(id) for (id,) in sightline.rows("SELECT id FROM searches_search")} == set(ids.values())
    assert sightline.rows(HOLDS) == [(len(ids),) * 3]
    assert sightline.rows(CLAIMED) == sightline.rows(DONE) == [(len(ids),)]
    assert sightline.manage("audit_ledger")
