"""Tests of dead credentials: their lookups wait at no cost, and one of them probes a credential that was repaired."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from django.db import connection, transaction

from accounts import clock
from accounts.models import Mode, Tenant
from providers.keyring import credentials, states
from providers.models import Credential
from searches.lanes import credential_gate, estimates, queue
from searches.lanes.queue import ClaimedLookup
from searches.lifecycle import deadlines
from searches.models import Call, Lane, Lookup, QueueState, Search, Status, TenantQueue
from tests.racing import at_once
from tests.searches.conftest import Fill

Claim = Callable[[], ClaimedLookup | None]
Drain = Callable[..., list[Lookup]]
pytestmark = pytest.mark.django_db
State = Credential.State


@pytest.fixture
def credential(alice: Tenant) -> Credential:
    return credentials.store(alice, "modash", "a-key-that-died")


@pytest.fixture
def mine(fill: Fill, claim: Claim, alice: Tenant, credential: Credential) -> list[Lookup]:
    """Returns four lookups of Alice that are blocked since the first call with her key was refused."""
    lookups = fill(alice, 4)
    Lookup.objects.filter(tenant=alice).update(credential=credential)
    refuse(claim())
    return lookups


def refuse(claimed: ClaimedLookup | None, state: State = State.EXHAUSTED) -> None:
    """Settles a call that the provider refused for its key."""
    assert claimed is not None
    assert claimed.lookup.credential is not None
    with transaction.atomic():
        tenant_queue = queue.lock_tenant_queue(claimed.lookup.lane_id, claimed.lookup.tenant_id)
        Call.objects.filter(pk=claimed.call.pk).update(state=Call.State.FAILED)
        states.mark(claimed.lookup.credential, state)
        queue.block(claimed.lookup, tenant_queue)


def work(claimed: ClaimedLookup | None) -> Lookup:
    """Settles a call that the provider answered."""
    assert claimed is not None
    assert claimed.lookup.credential is not None
    Call.objects.filter(pk=claimed.call.pk).update(state=Call.State.ANSWERED)
    Lookup.objects.filter(pk=claimed.lookup.pk).update(status=Status.SUCCEEDED)
    states.worked(claimed.lookup.credential)
    return claimed.lookup


def repair(credential: Credential) -> None:
    """Marks the credential as verified, as a check does."""
    states.mark(credential, State.VERIFIED)


def ready() -> int:
    """Returns the number of ready lookups; asserts that the tenant queues count as many."""
    rows = Lookup.objects.filter(queue_state=QueueState.READY).count()
    assert sum(TenantQueue.objects.values_list("ready", flat=True)) == rows
    return rows


def test_all_of_a_dead_credential_wait_for_it_and_for_nothing_else(
    mine: list[Lookup], fill: Fill, drain: Drain, bob: Tenant
) -> None:
    theirs = fill(bob, 2)
    assert [lookup.pk for lookup in drain()] == [lookup.pk for lookup in theirs]
    waiting = Lookup.objects.filter(queue_state=QueueState.BLOCKED)
    forecasts = estimates.forecast(waiting)
    assert [forecasts[lookup.pk].waiting_on for lookup in mine] == ["credential"] * 4
    assert credential_gate.unblock() == []


def test_a_repaired_one_is_tried_by_the_first_lookup_alone(
    mine: list[Lookup], credential: Credential, drain: Drain, lane: Lane
) -> None:
    repair(credential)
    assert credential_gate.unblock() == [lane.name]
    assert credential_gate.unblock() == []
    assert ready() == 1
    assert [lookup.pk for lookup in drain()] == [mine[0].pk]
    assert credential_gate.unblock() == []


def test_the_others_follow_when_it_has_worked(
    mine: list[Lookup], credential: Credential, claim: Claim, drain: Drain, lane: Lane
) -> None:
    repair(credential)
    credential_gate.unblock()
    assert work(claim()).pk == mine[0].pk
    assert credential_gate.unblock() == [lane.name]
    assert [lookup.pk for lookup in drain()] == [lookup.pk for lookup in mine[1:]]
    assert credential_gate.unblock() == []


def test_a_key_that_is_still_empty_costs_one_call_each_time_that_it_is_verified(
    mine: list[Lookup], credential: Credential, claim: Claim
) -> None:
    for _ in range(3):
        repair(credential)
        credential_gate.unblock()
        refuse(claim())
        assert (credential_gate.unblock(), ready()) == ([], 0)
    assert Call.objects.count() == 4


@pytest.mark.parametrize("queue_state", [QueueState.DELAYED, QueueState.READY])
def test_a_probe_that_is_in_line_again_is_waited_for(
    mine: list[Lookup], credential: Credential, claim: Claim, queue_state: QueueState
) -> None:
    repair(credential)
    credential_gate.unblock()
    claimed = claim()
    assert claimed is not None
    Call.objects.update(state=Call.State.FAILED)
    Lookup.objects.filter(pk=claimed.lookup.pk).update(queue_state=queue_state, not_before=clock.now())
    assert credential_gate.unblock() == []


def test_a_probe_that_ends_without_a_word_on_the_key_is_followed_by_the_next(
    mine: list[Lookup], credential: Credential, claim: Claim, drain: Drain, lane: Lane
) -> None:
    repair(credential)
    credential_gate.unblock()
    claimed = claim()
    assert claimed is not None
    Call.objects.filter(pk=claimed.call.pk).update(state=Call.State.FAILED)
    Lookup.objects.filter(pk=claimed.lookup.pk).update(status=Status.FAILED)
    assert credential_gate.unblock() == [lane.name]
    assert [lookup.pk for lookup in drain()] == [mine[1].pk]


def test_a_replaced_key_is_tried_by_one_too(mine: list[Lookup], alice: Tenant, claim: Claim) -> None:
    credentials.store(alice, "modash", "another-key")
    credential_gate.unblock()
    assert ready() == 1
    work(claim())
    credential_gate.unblock()
    assert ready() == 3


def test_a_second_key_of_hers_is_not_tried_for_the_first(
    mine: list[Lookup], credential: Credential, fill: Fill, alice: Tenant, drain: Drain
) -> None:
    spare = credentials.store(alice, "modash", "spare-key", label="spare")
    [other] = fill(alice, 1)
    Lookup.objects.filter(pk=other.pk).update(credential=spare)
    repair(credential)
    credential_gate.unblock()
    assert {lookup.pk for lookup in drain()} == {other.pk, mine[0].pk}


def test_what_the_sandbox_does_with_the_key_is_no_trial(
    mine: list[Lookup], credential: Credential, fill: Fill, alice: Tenant, lane: Lane
) -> None:
    test_lane = Lane.objects.create(name=f"test:modash:{alice.pk}", policy=lane.policy, mode=Mode.TEST)
    [played] = fill(alice, 1)
    TenantQueue.objects.filter(lane=lane).update(ready=0)
    Search.objects.filter(pk=played.search_id).update(mode=Mode.TEST)
    Lookup.objects.filter(pk=played.pk).update(credential=credential, lane=test_lane)
    queue.enqueue(test_lane, alice.pk, lookups=1, pending_calls=1)
    repair(credential)
    assert credential_gate.unblock() == [lane.name]


def test_lookups_of_a_deleted_credential_fail_without_a_turn(mine: list[Lookup], credential: Credential) -> None:
    credentials.remove(credential)
    assert deadlines.fail_without_credential() == 4
    assert set(Lookup.objects.values_list("status", "error_code")) == {("failed", "credential_missing")}
    assert ready() == 0


def test_an_idle_credential_that_is_probed_costs_a_sweep_nothing(credential: Credential, alice: Tenant) -> None:
    for number in range(3):
        other = credentials.store(alice, "modash", f"key-{number}", label=str(number))
        states.mark(other, State.EXHAUSTED)
        repair(other)
    with connection.execute_wrapper(counting := Counting()):
        assert credential_gate.unblock() == []
    assert counting.queries == 1


class Counting:
    queries = 0

    def __call__(self, execute: Callable[..., object], *arguments: object) -> object:
        self.queries += 1
        return execute(*arguments)


@pytest.mark.django_db(transaction=True)
def test_sweeps_at_once_send_one_probe(mine: list[Lookup], credential: Credential) -> None:
    repair(credential)
    sent = at_once([credential_gate.unblock] * 6)
    assert sorted(map(len, sent)) == [0, 0, 0, 0, 0, 1]
    assert ready() == 1
