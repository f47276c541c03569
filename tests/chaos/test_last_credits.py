"""Sends hundreds of submits at once to a running Sightline that has room for a few: exactly so many are accepted.

All requests are sent, each on a connection of its own, before the first answer is read. `make chaos ROUNDS=10` repeats each race.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from http.client import HTTPConnection
from random import Random
from typing import Any

import pytest

from tests import processes, programs
from tests.chaos.laws import nothing_of
from tests.chaos.spenders import COST, Limits
from tests.processes import Sightline, answers, wait_until
from tests.searches.samples import jpeg

SUBMITS, ROOM = 500, 37
ROUNDS = int(os.environ.get("ROUNDS") or 1)
LESS_THAN_COST = COST - Decimal("0.000001")
# Longer than a machine with two cores takes for all of them.
PATIENCE_SECONDS = 120
# A submit is sent so often again that was answered 503.
TRIES = 3
BOOKS = "SELECT * FROM billing_trial_balance WHERE balance <> 0"
HELD_BY_TENANT = """
SELECT account.held, account.unknown, account.last_number,
    (SELECT count(*) FROM billing_entry WHERE account_id = account.id AND kind = 'hold'),
    (SELECT count(*) FROM billing_hold WHERE account_id = account.id),
    (SELECT count(*) FROM searches_search WHERE tenant_id = account.tenant_id AND mode = 'live')
FROM billing_account AS account WHERE tenant_id = %s
"""
MONTHS = """
SELECT month.used, month.held FROM billing_tenantmonth AS month JOIN billing_account AS account ON account.id = month.account_id
WHERE account.tenant_id = %s
"""
KEY_MONTHS = """
SELECT spender::text, month.used, month.held
FROM billing_keymonth AS month JOIN billing_account AS account ON account.id = month.account_id
WHERE account.tenant_id = %s
"""
BUDGETS = """
SELECT most, budget.used, budget.held, count(*)
FROM billing_budget AS budget JOIN billing_account AS account ON account.id = budget.account_id
WHERE account.tenant_id = %s GROUP BY 1, 2, 3
"""


@dataclass(frozen=True, kw_only=True)
class Race:
    """`codes`: what refusals say. `by_key`: the fewest and the most that are accepted of each key. `within`: how many searches
    cost no more than their own `max_credits`.
    """

    limits: Limits
    codes: set[str]
    by_key: Sequence[tuple[int, int]] = ((ROOM, ROOM),)
    within: int | None = None


RACES = {
    "the balance": Race(limits=Limits(balance=ROOM), codes={"insufficient_credits"}),
    "the tenant's cap": Race(limits=Limits(tenant=ROOM), codes={"tenant_cap_reached"}),
    "a key's cap": Race(limits=Limits(keys=(ROOM,)), codes={"key_cap_reached"}),
    "max_credits": Race(limits=Limits(), codes={"max_credits_too_low"}, within=ROOM),
    "a tenant's cap and the caps of two keys": Race(
        limits=Limits(tenant=ROOM, keys=(20, 30)),
        codes={"tenant_cap_reached", "key_cap_reached"},
        by_key=((ROOM - 30, 20), (ROOM - 20, 30)),
    ),
    "the caps of two keys below their tenant's": Race(
        limits=Limits(tenant=ROOM + 1, keys=(20, ROOM - 20)),
        codes={"key_cap_reached"},
        by_key=((20, 20), (ROOM - 20, ROOM - 20)),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Spender:
    """A tenant with a stored picture. `keys`: the id and the secret of each of its API keys."""

    tenant: str
    keys: Sequence[tuple[str, str]]
    image: str


@pytest.fixture(scope="module")
def sightline() -> Iterator[Sightline]:
    """Runs Sightline without a worker for searches, so that what is held stays held."""
    with programs.state_folder() as folder, processes.started(folder) as running:
        wait_until(lambda: answers(running.api, "/readyz"))
        yield running


@pytest.mark.chaos
@pytest.mark.parametrize("race", RACES.values(), ids=RACES)
def test_no_more_searches_are_accepted_than_there_is_room_for(sightline: Sightline, race: Race) -> None:
    for number, spender in enumerate(spenders(sightline, race.limits, ROUNDS)):
        orders = ordered(race, spender, Random(number))
        answered = sent_at_once(sightline, orders)
        # A busy machine may ask for some once more; what they asked for was not done.
        for _ in range(TRIES):
            late = [place for place, (status, _) in enumerate(answered) if status == 503]
            again = sent_at_once(sightline, [orders[place] for place in late])
            for place, answer in zip(late, again, strict=True):
                answered[place] = answer
        outcomes = Counter(status for status, _ in answered)
        assert outcomes == {202: ROOM, 402: SUBMITS - ROOM}, (number, outcomes)
        assert {body["code"] for status, body in answered if status == 402} <= race.codes
        accepted = Counter(key for (key, _, _), (status, _) in zip(orders, answered, strict=True) if status == 202)
        for (key, _), (fewest, most) in zip(spender.keys, race.by_key, strict=True):
            assert fewest <= accepted[key] <= most, accepted
        the_books_say_so(sightline, race, spender, accepted)


def spenders(sightline: Sightline, limits: Limits, count: int) -> list[Spender]:
    """Returns so many new tenants, each of whom has the picture ready for the provider."""
    made = subprocess.run(
        [sys.executable, "-m", "tests.chaos.spenders", limits.as_json(), str(count)],
        env=os.environ | sightline.environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    return [
        Spender(tenant=each["tenant"], keys=each["keys"], image=stored_picture(sightline, each["test_key"]))
        for each in json.loads(made.stdout)
    ]


def stored_picture(sightline: Sightline, test_key: str) -> str:
    """Returns the id of a picture that a search of a test key has used, which costs nothing."""
    order = json.dumps({"lookups": [{"source": "tiktok-creators", "limit": 2}]})
    answer = sightline.api.post(
        "/v1/searches",
        data={"request": order},
        files={"image": ("mug.jpg", jpeg(), "image/jpeg")},
        headers={"Authorization": f"Bearer {test_key}"},
    )
    assert answer.status_code == 202, answer.text
    image: str = answer.json()["image"]["id"]
    return image


def ordered(race: Race, spender: Spender, random: Random) -> list[tuple[str, str, dict[str, Any]]]:
    """Returns the orders: of each the id and the secret of its key, and the body."""
    body = {
        "image": {"id": spender.image},
        "lookups": [{"source": "tiktok-creators", "limit": 2}],
        "max_age": 0,
    }
    orders = []
    for number in range(SUBMITS):
        own = body
        if race.within is not None:
            most = COST if number < race.within else LESS_THAN_COST
            own = {**body, "max_credits": {"modash": f"{most:f}"}}
        orders.append((*spender.keys[number % len(spender.keys)], own))
    random.shuffle(orders)
    return orders


def sent_at_once(
    sightline: Sightline, orders: Sequence[tuple[str, str, dict[str, Any]]]
) -> list[tuple[int, dict[str, Any]]]:
    """Returns the status and the body of each answer. All requests are sent before the first answer is read."""
    host, port = sightline.api.base_url.host, sightline.api.base_url.port
    connections = [HTTPConnection(host, port, timeout=PATIENCE_SECONDS) for _ in orders]
    try:
        for connection in connections:
            connection.connect()
        for connection, (_, secret, order) in zip(connections, orders, strict=True):
            headers = {"Authorization": f"Bearer {secret}", "Content-Type": "application/json"}
            connection.request("POST", "/v1/searches", json.dumps(order), headers)
        return [answer_of(connection) for connection in connections]
    finally:
        for connection in connections:
            connection.close()


def answer_of(connection: HTTPConnection) -> tuple[int, dict[str, Any]]:
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def the_books_say_so(sightline: Sightline, race: Race, spender: Spender, accepted: Counter[str]) -> None:
    """Checks what is kept of the tenant: the credits held, under each limit, and nothing of what was refused."""
    grants = int(race.limits.balance is not None)
    assert sightline.rows(HELD_BY_TENANT, spender.tenant) == [(ROOM * COST, 0, ROOM + grants, ROOM, ROOM, ROOM)]
    assert sightline.rows(MONTHS, spender.tenant) == [(0, ROOM * COST)]
    by_key = sorted((key, Decimal(0), count * COST) for key, count in accepted.items())
    assert sorted(sightline.rows(KEY_MONTHS, spender.tenant)) == by_key
    budgets = [] if race.within is None else [(COST, 0, COST, ROOM)]
    assert sightline.rows(BUDGETS, spender.tenant) == budgets
    nothing_of(sightline, BOOKS)
    assert sightline.manage("audit_ledger").startswith("Every balance follows")
