"""Tests of changes while a lookup waits: of its key, of the limit's scope, and of the key's state."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from functools import partial
from threading import Event

import pytest
from django.db import connection, transaction
from uuid_utils.compat import uuid7

from accounts import batches, clock
from accounts.models import Mode, Tenant
from providers.contract import Answer
from providers.failures import BadCredential, Faulty
from providers.keyring import credentials, states
from providers.models import Credential, Policy
from searches import tasks
from searches.calls import outcomes, settlement, worker
from searches.lanes import credential_gate, directory, queue, wakeups
from searches.lanes.queue import ClaimedLookup
from searches.lifecycle import cancellation
from searches.models import Call, Lane, Lookup, QueueState, Status, TenantQueue
from tests.api.background import until_somebody_waits_for_a_lock
from tests.racing import at_once
from tests.searches.conftest import LEASE, Fill

Claim = Callable[[], ClaimedLookup | None]
Drain = Callable[..., list[Lookup]]
pytestmark = pytest.mark.django_db
REFUSED = BadCredential("credential_invalid", "The key was refused.", status=401)
NOTHING = Answer(hits=(), billed_results=0, last=False, status=200)


@pytest.fixture
def credential(alice: Tenant) -> Credential:
    return credentials.store(alice, "modash", "the-key-of-before")


@pytest.fixture
def by_account(policy: Policy, credential: Credential, alice: Tenant) -> Lane:
    """Returns the lane of Alice's account."""
    Policy.objects.update(scope=Policy.Scope.ACCOUNT)
    return lane_in_force(credential)


@pytest.fixture
def mine(fill: Fill, credential: Credential, alice: Tenant) -> list[Lookup]:
    """Returns one lookup of each queue state, in the shared lane."""
    ready, delayed, blocked = fill(alice, 3, pages=3)
    due = clock.now() + timedelta(minutes=1)
    Lookup.objects.filter(pk=delayed.pk).update(status=Status.RUNNING, queue_state=QueueState.NONE)
    Lookup.objects.filter(pk=delayed.pk).update(queue_state=QueueState.DELAYED, not_before=due)
    Lookup.objects.filter(pk=blocked.pk).update(queue_state=QueueState.BLOCKED)
    TenantQueue.objects.update(ready=1, pending_calls=3, wake_at=due)
    return [ready, delayed, blocked]


def lane_in_force(credential: Credential) -> Lane:
    return directory.lane_of(
        Policy.objects.get(), mode=Mode.LIVE, tenant_id=credential.tenant_id, fingerprint=credential.fingerprint
    )


def lanes() -> set[str]:
    """Returns the lanes with lookups in their queues; asserts that each tenant queue agrees with its rows."""
    for tenant_queue in TenantQueue.objects.all():
        own = Lookup.objects.filter(lane=tenant_queue.lane_id, tenant=tenant_queue.tenant_id)
        due = own.filter(queue_state=QueueState.DELAYED).order_by("not_before").first()
        ready = [lookup.calls_left for lookup in own.filter(queue_state=QueueState.READY)]
        assert (tenant_queue.ready, tenant_queue.pending_calls, tenant_queue.wake_at) == (
            len(ready),
            sum(ready),
            due and due.not_before,
        )
    return set(Lookup.objects.exclude(queue_state=QueueState.NONE).values_list("lane", flat=True))


def queue_states() -> list[str]:
    return list(Lookup.objects.order_by("sort_key").values_list("queue_state", flat=True))


def die(credential: Credential) -> None:
    """Marks the credential as dead, as a check or a dictionary does."""
    assert states.mark(credential, Credential.State.INVALID)


def claim_next(claim: Claim) -> ClaimedLookup:
    claimed = claim()
    assert claimed is not None
    return claimed


def test_waiting_lookups_move_to_the_lane_of_the_new_scope_and_back(
    mine: list[Lookup], by_account: Lane, lane: Lane
) -> None:
    directory.move_lookups()
    assert lanes() == {by_account.name}
    assert queue_states() == ["ready", "delayed", "blocked"]
    Policy.objects.update(scope=Policy.Scope.PROVIDER)
    directory.move_lookups()
    assert lanes() == {lane.name}


def test_the_sweep_sees_to_it_before_it_wakes_what_waited(mine: list[Lookup], by_account: Lane) -> None:
    tasks.sweep_lanes()
    assert lanes() == {by_account.name}
    assert queue_states() == ["ready", "delayed", "ready"]


def test_the_sweep_blocks_the_lookups_of_a_dead_key(mine: list[Lookup], credential: Credential) -> None:
    die(credential)
    tasks.sweep_lanes()
    assert queue_states() == ["blocked"] * 3


def test_a_claim_blocks_no_more_than_the_lane_can_be_locked_for(
    mine: list[Lookup], credential: Credential, claim: Claim
) -> None:
    ready = mine[0]
    Lookup.objects.bulk_create(
        Lookup(**(values | {"id": uuid7(), "ordinal": number}))
        for values in [Lookup.objects.filter(pk=ready.pk).values().get()]
        for number in range(1, 1001)
    )
    TenantQueue.objects.update(ready=1001, pending_calls=3003)
    die(credential)
    assert claim() is None
    assert Lookup.objects.filter(queue_state=QueueState.READY).count() == TenantQueue.objects.get().ready == 1
    assert TenantQueue.objects.get().pending_calls == 3
    credential_gate.block_dead()
    assert (TenantQueue.objects.get().ready, TenantQueue.objects.get().pending_calls) == (0, 0)


@pytest.mark.parametrize("step", ["block", "bring back", "move"])
def test_no_step_of_a_sweep_holds_a_place_for_all_that_wait(
    step: str, fill: Fill, credential: Credential, alice: Tenant, lane: Lane, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction takes a batch, a sweep some batches, and the next sweep the rest."""
    monkeypatch.setattr(batches, "SIZE", 2)
    monkeypatch.setattr(directory, "BATCHES", 2)
    fill(alice, 5, pages=3)
    if step == "bring back":
        Lookup.objects.update(queue_state=QueueState.BLOCKED)
        TenantQueue.objects.update(ready=0, pending_calls=0)
    elif step == "block":
        die(credential)
    else:
        Policy.objects.update(scope=Policy.Scope.ACCOUNT)
    sweep = {
        "block": credential_gate.block_dead,
        "bring back": credential_gate.unblock,
        "move": directory.move_lookups,
    }[step]
    before = Lookup.objects.values_list("queue_state", "lane")[0]
    left = []
    for _ in range(2):
        sweep()
        lanes()
        left.append(Lookup.objects.filter(queue_state=before[0], lane=before[1]).count())
    assert left == [1, 0]


def test_what_waits_follows_a_replaced_key(
    mine: list[Lookup], by_account: Lane, credential: Credential, alice: Tenant
) -> None:
    directory.move_lookups()
    replaced = credentials.store(alice, "modash", "another-key")
    directory.move_lookups()
    assert lanes() == {lane_in_force(replaced).name} != {by_account.name}


def test_who_is_moved_gains_nothing_by_having_been_elsewhere(mine: list[Lookup], by_account: Lane) -> None:
    Lane.objects.filter(pk=by_account.pk).update(virtual_time=77)
    directory.move_lookups()
    assert TenantQueue.objects.get(lane=by_account).virtual_time == 77


def test_others_in_the_same_lane_stay(
    mine: list[Lookup], by_account: Lane, fill: Fill, bob: Tenant, alice: Tenant
) -> None:
    shared = credentials.store(bob, "modash", "the-key-of-before")
    fill(bob, 2)
    directory.move_lookups()
    assert lanes() == {by_account.name}
    credentials.store(alice, "modash", "another-key")
    directory.move_lookups()
    theirs = Lookup.objects.filter(tenant=bob)
    assert set(theirs.values_list("lane", flat=True)) == {lane_in_force(shared).name} == {by_account.name}
    assert not Lookup.objects.filter(tenant=alice, lane=by_account).exists()


def test_a_lookup_under_way_moves_to_its_lane_when_it_is_put_back(
    fill: Fill, claim: Claim, alice: Tenant, credential: Credential, lane: Lane
) -> None:
    fill(alice, 1)
    claimed = claim_next(claim)
    Policy.objects.update(scope=Policy.Scope.ACCOUNT)
    directory.move_lookups()
    assert Lookup.objects.get().lane_id == lane.name
    with transaction.atomic():
        queue.put_back(claimed.lookup, queue.lock_tenant_queue(lane.name, alice.pk))
    directory.move_lookups()
    assert lanes() == {lane_in_force(credential).name}


def test_a_test_keys_lookups_stay_in_their_tenants_lane(mine: list[Lookup], by_account: Lane, alice: Tenant) -> None:
    test_lane = Lane.objects.create(name=f"test:modash:{alice.pk}", policy=by_account.policy, mode=Mode.TEST)
    Lookup.objects.update(lane=test_lane)
    TenantQueue.objects.update(lane=test_lane)
    directory.move_lookups()
    assert lanes() == {test_lane.name}


def test_what_was_read_before_it_moved_is_withdrawn_where_it_is(mine: list[Lookup], by_account: Lane) -> None:
    read = list(Lookup.objects.all())
    directory.move_lookups()
    with transaction.atomic():
        assert len(queue.withdraw(read)) == 3
    assert sum(TenantQueue.objects.values_list("ready", flat=True)) == 0


def test_a_sweep_without_waiting_lookups_costs_one_query(fill: Fill, credential: Credential) -> None:
    with connection.execute_wrapper(counting := Counting()):
        directory.move_lookups()
    assert counting.queries == 1


class Counting:
    queries = 0

    def __call__(self, execute: Callable[..., object], *arguments: object) -> object:
        self.queries += 1
        return execute(*arguments)


def test_lookups_of_a_key_that_was_found_dead_elsewhere_are_blocked(
    mine: list[Lookup], credential: Credential, fill: Fill, bob: Tenant
) -> None:
    fill(bob, 1)
    die(credential)
    credential_gate.block_dead()
    assert queue_states() == ["blocked", "blocked", "blocked", "ready"]
    lanes()


def test_in_all_lanes(mine: list[Lookup], by_account: Lane, credential: Credential) -> None:
    Lookup.objects.filter(pk=mine[1].pk).update(lane=by_account)
    TenantQueue.objects.update(wake_at=None)
    TenantQueue.objects.create(lane=by_account, tenant_id=mine[0].tenant_id, wake_at=clock.now())
    die(credential)
    credential_gate.block_dead()
    assert queue_states() == ["blocked"] * 3
    lanes()


def test_the_sandbox_plays_with_a_dead_key(mine: list[Lookup], credential: Credential, lane: Lane) -> None:
    Lane.objects.update(mode=Mode.TEST)
    die(credential)
    credential_gate.block_dead()
    assert queue_states() == ["ready", "delayed", "blocked"]
    assert queue.claim(lane.name, lane.policy, lease=LEASE) is not None


def test_a_claim_passes_over_the_lookups_of_a_dead_key(
    mine: list[Lookup], credential: Credential, fill: Fill, drain: Drain, alice: Tenant, bob: Tenant
) -> None:
    spare = credentials.store(alice, "modash", "spare-key", label="spare")
    theirs, other = fill(bob, 1) + fill(alice, 1)
    Lookup.objects.filter(pk=other.pk).update(credential=spare)
    die(credential)
    assert {lookup.pk for lookup in drain()} == {theirs.pk, other.pk}
    assert queue_states() == ["blocked", "delayed", "blocked", "none", "none"]
    lanes()


def test_a_lane_of_nothing_but_dead_keys_is_idle(mine: list[Lookup], credential: Credential, claim: Claim) -> None:
    die(credential)
    assert claim() is None
    assert not Call.objects.exists()
    assert wakeups.lanes_with_work() == []


def test_a_lookup_put_back_with_a_key_that_died_meanwhile_is_blocked(
    fill: Fill, claim: Claim, policy: Policy, alice: Tenant, credential: Credential
) -> None:
    fill(alice, 4, pages=2)
    refused, *others = [claim_next(claim) for _ in range(4)]
    outcomes.failed(refused, policy, REFUSED)
    outcomes.failed(others[0], policy, Faulty("provider_error", "It failed.", status=500))
    outcomes.answered(others[1], NOTHING)
    settlement.unsent(others[2].call, others[2].lookup)
    assert queue_states() == ["blocked"] * 4
    assert claim() is None
    lanes()


def test_a_dead_key_is_remembered_though_its_lookup_was_canceled(
    fill: Fill, claim: Claim, policy: Policy, alice: Tenant, credential: Credential
) -> None:
    canceled, _ = fill(alice, 2)
    claimed = claim_next(claim)
    cancellation.cancel(canceled.search)
    outcomes.failed(claimed, policy, REFUSED)
    credential.refresh_from_db()
    assert credential.state == Credential.State.INVALID
    assert set(Lookup.objects.values_list("status", "queue_state")) == {
        (Status.CANCELED, QueueState.NONE),
        (Status.QUEUED, QueueState.BLOCKED),
    }


def test_a_refusal_of_the_key_of_before_says_nothing_of_the_one_that_replaced_it(
    fill: Fill, claim: Claim, policy: Policy, alice: Tenant, credential: Credential
) -> None:
    fill(alice, 1)
    claimed = claim_next(claim)
    credentials.store(alice, "modash", "another-key")
    outcomes.failed(claimed, policy, REFUSED)
    credential.refresh_from_db()
    assert credential.state == Credential.State.UNKNOWN
    assert credential_gate.unblock() == ["modash"]


@pytest.mark.django_db(transaction=True)
def test_sweeps_claims_and_deletions_at_once_keep_the_counts_of_the_queue_right(
    fill: Fill, claim: Claim, alice: Tenant, bob: Tenant, policy: Policy
) -> None:
    credentials.store(alice, "modash", "the-key-of-before")
    for tenant in (alice, bob, alice):
        fill(tenant, 10)
    Policy.objects.update(scope=Policy.Scope.ACCOUNT)
    die(alice.credentials.get())
    drop = partial(cancellation.cancel, Lookup.objects.filter(tenant=bob).earliest("pk").search)

    def claim_as_a_worker() -> None:
        # A worker asks again later where others keep the queue locked.
        with suppress(queue.Contended):
            claim()

    at_once(
        [directory.move_lookups, directory.move_lookups, credential_gate.block_dead, *[claim_as_a_worker] * 2, drop]
    )
    directory.move_lookups()
    credential_gate.block_dead()
    lanes()
    assert not Lookup.objects.filter(tenant=alice, queue_state=QueueState.READY).exists()


@pytest.mark.django_db(transaction=True)
def test_a_key_can_be_deleted_while_a_call_with_it_is_refused(
    fill: Fill, claim: Claim, policy: Policy, alice: Tenant, credential: Credential
) -> None:
    """Each transaction locks lookups that the other wants. PostgreSQL ends one of them, which is repeated."""
    fill(alice, 3)
    claimed = claim_next(claim)
    refused = Event()

    def refuse() -> None:
        def wait_for_the_deletion(execute: Callable[..., object], sql: str, *rest: object) -> object:
            if sql.startswith('UPDATE "providers_credential"') and not refused.is_set():
                refused.set()
                until_somebody_waits_for_a_lock()
            return execute(sql, *rest)

        with connection.execute_wrapper(wait_for_the_deletion):
            # Repeated as by a worker, for PostgreSQL chooses which one it ends.
            worker._settle_surely(lambda: outcomes.failed(claimed, policy, REFUSED))

    def delete() -> None:
        assert refused.wait(10)
        credentials.remove(credential)

    at_once([refuse, delete])
    assert not Credential.objects.exists()
    assert queue_states() == ["blocked"] * 3
    lanes()
