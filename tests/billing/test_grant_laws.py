"""Laws of grants: whatever happens in whatever order, each grant has what a plain replay of the events gives it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from uuid import uuid4

import hypothesis
from django.utils import timezone
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts.models import Tenant
from billing import audit, grants, ledger
from billing.caps import LimitReached
from billing.models import Account, Draw, Grant
from tests.billing.passing import has_ended
from tests.billing.test_ledger import CREDITS, SOME, hold, in_one

NEVER = 1_000_000


@dataclass
class Expected:
    """A grant as the replay has it. `day` is that of its expiry."""

    number: int
    priority: int
    day: int
    available: Decimal
    expired: Decimal = Decimal(0)
    has_expired: bool = False

    @property
    def order(self) -> tuple[int, int, int]:
        return self.priority, self.day, self.number


class Grants(RuleBasedStateMachine):
    """A prepaid account with grants of any priority and expiry, and lookups that hold, cost, lose and release its credits."""

    @initialize(amount=CREDITS)
    def begin(self, amount: Decimal) -> None:
        self.tenant = Tenant.objects.create(name=str(uuid4()))
        self.account = ledger.account_of(self.tenant, "modash")
        self.begun = timezone.now()
        self.expected: dict[int, Expected] = {}
        # What each lookup has drawn, by grant, and what it holds.
        self.draws: dict[str, dict[int, Decimal]] = {}
        self.held: dict[str, tuple[Decimal, Decimal]] = {}
        self.rest = Decimal(0)
        self.grant(amount, 50, None)

    def in_order(self, among: list[int] | None = None) -> list[Expected]:
        found = self.expected.values() if among is None else [self.expected[number] for number in among]
        return sorted(found, key=lambda one: one.order)

    def take(self, amount: Decimal) -> dict[int, Decimal]:
        """Takes an amount from the grants, and the rest from what belongs to none."""
        taken = {}
        for one in self.in_order():
            part = min(amount, one.available)
            one.available -= part
            amount -= part
            if part:
                taken[one.number] = part
        self.rest -= amount
        return taken

    def give_back(self, number: int, part: Decimal) -> None:
        one = self.expected[number]
        if one.has_expired:
            one.expired += part
        else:
            one.available += part

    def lookup(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(list(self.held)))

    @rule(amount=CREDITS, priority=st.sampled_from((0, 50, 100)), day=st.none() | st.integers(1, 5))
    def grant(self, amount: Decimal, priority: int, day: int | None) -> None:
        expires_at = None if day is None else self.begun + timedelta(days=day)
        ledger.grant(self.account, amount, expires_at=expires_at, priority=priority)
        number = Grant.objects.filter(account=self.account).latest("number").number
        self.expected[number] = Expected(number, priority, day or NEVER, amount)

    @rule(amount=CREDITS)
    def submit(self, amount: Decimal) -> None:
        reference = f"lookup:{uuid4()}"
        room = self.rest + sum((one.available for one in self.expected.values()), Decimal(0))
        try:
            hold(self.tenant, amount, reference)
        except LimitReached:
            assert amount > room
            return
        assert amount <= room
        self.draws[reference] = self.take(amount)
        self.held[reference] = amount, Decimal(0)

    def spend(self, reference: str, charged: Decimal, released: Decimal) -> None:
        """Replays a charge, and a release of so much."""
        draws = self.draws[reference]
        open_, unknown = self.held[reference]
        undrawn = open_ + unknown - sum(draws.values(), Decimal(0))
        for one in self.in_order(list(draws)):
            part = min(charged, draws[one.number])
            draws[one.number] -= part
            charged -= part
        undrawn -= charged
        part = min(released, undrawn)
        self.rest += part
        released -= part
        for one in reversed(self.in_order(list(draws))):
            part = min(released, draws[one.number])
            draws[one.number] -= part
            released -= part
            self.give_back(one.number, part)
        assert released == 0

    @precondition(lambda self: self.held)
    @rule(data=st.data(), cost=CREDITS)
    def charge(self, data: st.DataObject, cost: Decimal) -> None:
        reference = self.lookup(data)
        open_, unknown = self.held[reference]
        charged = min(cost, open_)
        assert in_one(ledger.charge, reference, cost, key=str(uuid4())) == charged
        self.spend(reference, charged, Decimal(0))
        self.held[reference] = open_ - charged, unknown

    @precondition(lambda self: self.held)
    @rule(data=st.data(), amount=CREDITS)
    def lose(self, data: st.DataObject, amount: Decimal) -> None:
        reference = self.lookup(data)
        open_, unknown = self.held[reference]
        in_one(ledger.set_unknown, reference, amount)
        part = min(amount, open_)
        self.held[reference] = open_ - part, unknown + part

    @precondition(lambda self: self.held)
    @rule(data=st.data(), cost=CREDITS)
    def close(self, data: st.DataObject, cost: Decimal) -> None:
        reference = self.lookup(data)
        open_, unknown = self.held.pop(reference)
        charged = min(cost, open_)
        with suppress(KeyError):
            assert in_one(ledger.close, reference, cost, key=str(uuid4())) == charged
        self.held[reference] = open_, unknown
        self.spend(reference, charged, open_ - charged)
        del self.held[reference]
        if unknown:
            ledger.settle(reference, charged=unknown)
            self.held[reference] = Decimal(0), unknown
            self.spend(reference, unknown, Decimal(0))
            del self.held[reference]

    @precondition(lambda self: any(unknown for _, unknown in self.held.values()))
    @rule(data=st.data(), share=st.sampled_from((0, 1, 2)))
    def settle(self, data: st.DataObject, share: int) -> None:
        reference = data.draw(st.sampled_from([name for name, (_, unknown) in self.held.items() if unknown]))
        open_, unknown = self.held[reference]
        charged = (unknown * share / 2).quantize(Decimal("0.000001"))
        ledger.settle(reference, charged=charged)
        self.spend(reference, charged, unknown - charged)
        self.held[reference] = open_, Decimal(0)
        if not open_:
            del self.held[reference]

    @rule(amount=SOME)
    def adjust(self, amount: Decimal) -> None:
        room = self.rest + sum((one.available for one in self.expected.values()), Decimal(0))
        try:
            ledger.adjust(self.account, amount, memo="by hand", person="olive", corrects="1")
        except ValueError:
            assert not amount or room + amount < 0
            return
        if amount < 0:
            beyond = max(-amount - self.rest, Decimal(0))
            self.rest -= -amount - beyond
            self.take(beyond)
        else:
            self.rest += amount

    @rule(by_sweep=st.booleans())
    def the_next_grant_ends(self, by_sweep: bool) -> None:
        """Lets it end by the sweep, or by a movement that comes first."""
        to_come = [one for one in self.expected.values() if one.day < NEVER and not one.has_expired]
        if not to_come:
            return
        for one in [one for one in to_come if one.day == min(each.day for each in to_come)]:
            has_ended(one.number, of=self.account)
            one.expired, one.available, one.has_expired = one.expired + one.available, Decimal(0), True
        if by_sweep:
            grants.expire_due()
        else:
            self.adjust(Decimal(1))

    @invariant()
    def every_grant_has_what_the_replay_gives_it(self) -> None:
        found = Grant.objects.filter(account=self.account)
        kept = {one.number: (one.available, one.expired, one.has_expired) for one in found}
        assert kept == {one.number: (one.available, one.expired, one.has_expired) for one in self.expected.values()}

    @invariant()
    def every_hold_draws_what_the_replay_draws(self) -> None:
        kept = {
            (one.hold_id, one.grant.number): one.amount
            for one in Draw.objects.filter(grant__account=self.account).select_related("grant")
        }
        due = {(name, number): part for name, own in self.draws.items() for number, part in own.items() if part}
        assert kept == due

    @invariant()
    def the_account_has_what_the_grants_and_the_rest_have(self) -> None:
        account = Account.objects.get(pk=self.account.pk)
        assert account.posted - account.held == self.rest + sum(one.available for one in self.expected.values())

    @invariant()
    def the_audit_finds_nothing(self) -> None:
        assert audit.differences() == []


def test_whatever_happens_each_grant_is_spent_in_its_turn(db: None) -> None:
    run_state_machine_as_test(
        Grants, settings=hypothesis.settings(max_examples=15, stateful_step_count=15, deadline=None)
    )
