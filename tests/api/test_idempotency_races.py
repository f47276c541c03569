"""Fifty equal requests with one key at one instant: one of them does it, and no other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from django.db.models.functions import Now
from rest_framework.test import APIClient

from accounts import idempotency_keys
from accounts.models import Endpoint, IdempotencyKey, Mode, Tenant
from billing.models import Entry, Hold
from providers.keyring import credentials
from searches.models import Search
from tests.api.background import background, until_somebody_waits_for_a_lock
from tests.api.examples import order
from tests.api.test_idempotency import KEY, is_replay, post, refusal
from tests.conftest import ClientOf
from tests.patience import HANGS_AFTER_SECONDS
from tests.racing import at_once

pytestmark = pytest.mark.django_db(transaction=True)
MANY = 50


def raced(tasks: list[Callable[[], Any]]) -> tuple[list[Any], list[Any]]:
    """Returns the responses of those that did it, and of the others."""
    responses = at_once(tasks)
    done = [each for each in responses if 200 <= each.status_code < 300 and not is_replay(each)]
    return done, [each for each in responses if each not in done]


def test_fifty_equal_searches_are_one(alice: Tenant, client_of: ClientOf) -> None:
    credentials.store(alice, "modash", "alices-modash-key")
    clients = [client_of(alice) for _ in range(2)]
    done, others = raced([partial(post, clients[number % 2]) for number in range(MANY)])
    assert len(done) == 1
    for other in others:
        assert is_replay(other) or refusal(other) == (409, "idempotency_key_in_use")
        assert other.status_code == 409 or other.json()["id"] == done[0].json()["id"]
    assert (Search.objects.count(), Hold.objects.count(), Entry.objects.count()) == (1, 1, 1)


def test_of_different_bodies_one_is_done(api: APIClient) -> None:
    done, others = raced([partial(post, api, body=order(priority=number % 10)) for number in range(20)])
    [first] = done
    assert first.status_code == 202
    outcomes = Counter(refusal(other) if not is_replay(other) else (202, "") for other in others)
    assert outcomes[422, "idempotency_key_reused"] == 18
    assert set(outcomes) <= {(422, "idempotency_key_reused"), (409, "idempotency_key_in_use"), (202, "")}
    assert Search.objects.count() == 1


def test_tenants_and_modes_race_for_keys_of_their_own(alice: Tenant, charlie: Tenant, client_of: ClientOf) -> None:
    for tenant in (alice, charlie):
        credentials.store(tenant, "modash", f"{tenant.name}s-modash-key")
    clients = [client_of(alice), client_of(alice, Mode.TEST), client_of(charlie)]
    done, _ = raced([partial(post, clients[number % 3]) for number in range(30)])
    assert len({response.json()["id"] for response in done}) == len(done) == 3
    assert Search.objects.count() == 3


def test_fifty_equal_endpoints_are_one_with_one_secret(api: APIClient) -> None:
    body = {"url": "https://example.com/hooks"}
    done, others = raced([partial(post, api, "/v1/webhook-endpoints", body) for _ in range(MANY)])
    [first] = done
    replays = [other.json() for other in others if is_replay(other)]
    assert all(replay == first.json() for replay in replays)
    assert Counter(other.status_code for other in others)[409] == MANY - 1 - len(replays)
    assert Endpoint.objects.count() == 1


def test_one_of_many_takes_a_dead_claim_over(alice: Tenant) -> None:
    claim: Any = partial(idempotency_keys.claim, alice, Mode.LIVE, KEY, "f" * 64)
    claim()
    IdempotencyKey.objects.update(leased_until=Now())

    def attempt() -> bool:
        try:
            return isinstance(claim(), idempotency_keys.Claim)
        except idempotency_keys.KeyInUse:
            return False

    assert sum(at_once([attempt] * 20)) == 1


def test_a_release_waits_for_a_commit_under_way_and_keeps_what_it_did(alice: Tenant) -> None:
    """A connection that breaks during a commit leaves the client without an answer, and perhaps with a search."""
    mine = idempotency_keys.claim(alice, Mode.LIVE, KEY, "f" * 64)
    assert isinstance(mine, idempotency_keys.Claim)
    with background() as start:
        with transaction.atomic():
            idempotency_keys.complete(mine, 202, answer="{}")
            released = start(lambda: idempotency_keys.release(mine))
            until_somebody_waits_for_a_lock()
        released.result(HANGS_AFTER_SECONDS)
    assert IdempotencyKey.objects.get().status == 202
