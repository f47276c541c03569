"""Laws of money, which hold after any movements in any order."""

from __future__ import annotations

import json
from collections import defaultdict
from contextlib import suppress
from dataclasses import replace
from datetime import date
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import hypothesis
from django.db import connection, transaction
from django.db.models import Sum
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from accounts import keys
from accounts.models import Mode, Tenant
from accounts.webhooks import endpoints
from billing import alerts, audit, caps, grants, ledger, usage
from billing.caps import LimitReached, Spender
from billing.ledger import Demand
from billing.models import Account, Budget, Entry, KeyCap, KeyMonth, Statement, TenantCap, TenantMonth
from tests.billing import granting, passing
from tests.billing.months import end_month, end_of_open_month, open_since, ranges, statements_of
from tests.billing.passing import expires_in
from tests.billing.reached import CapChanges, announced
from tests.billing.reached import replayed as replayed_shares
from tests.billing.test_caps import cap_key, cap_tenant, it_is
from tests.billing.test_ledger import CREDITS, SOME, demand, in_one
from tests.billing.test_numbers import entries_of, replayed

# What the charges of a lookup count for, beside its API key.
SPENT_FOR: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {
        "source": st.sampled_from(("tiktok-creators", "public-videos")),
        "metadata": st.dictionaries(st.sampled_from("ab"), st.sampled_from(("", "x", "y"))),
    }
)
GROUPINGS = ("day", "day,source", "api_key", "metadata.a", "source,metadata.b", "metadata.a,metadata.b,api_key,day")
NONE_OR_SOME = st.just(Decimal(0)) | CREDITS


PROVIDERS = ("modash", "memories")


def counted() -> list[object]:
    return [list(table.objects.order_by("pk").values()) for table in (TenantMonth, KeyMonth, Budget)]


class Money(RuleBasedStateMachine):
    """Two accounts, a prepaid and a metered one, and all movements that lookups can make on them."""

    def __init__(self) -> None:
        super().__init__()
        # Each example sees its own rows alone: else every check would read those of all examples before.
        self.example = transaction.atomic()
        self.example.__enter__()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.example.__exit__(None, None, None)

    @initialize(granted=CREDITS)
    def begin(self, granted: Decimal) -> None:
        tenant = Tenant.objects.create(name=str(uuid4()))
        self.tenant = tenant
        self.prepaid = ledger.account_of(tenant, "modash")
        self.metered = ledger.account_of(tenant, "memories")
        # Receives the alerts.
        endpoints.create(tenant, Mode.LIVE, url="https://alice.example/hooks", events=["credits.threshold_reached"])
        self.cap_changes = CapChanges()
        ledger.grant(self.prepaid, granted, expires_at=expires_in(days=1))
        self.api_keys = [keys.issue(tenant, Mode.LIVE)[0] for _ in range(2)]
        self.month = date(2026, 11, 1)
        it_is(self.month)
        self.references: list[str] = []
        self.agreed: dict[str, Decimal] = {}
        self.demands: dict[str, Demand] = {}
        self.spenders: dict[str, UUID | None] = {}

    def known(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(self.references or ["lookup:none"]))

    @rule(
        amounts=st.lists(CREDITS, min_size=1, max_size=3),
        providers=st.lists(st.sampled_from(PROVIDERS)),
        key=st.none() | st.sampled_from((0, 1)),
        max_credits=st.dictionaries(st.sampled_from(PROVIDERS), CREDITS),
        data=st.data(),
    )
    def submit(
        self,
        amounts: list[Decimal],
        providers: list[str],
        key: int | None,
        max_credits: dict[str, Decimal],
        data: st.DataObject,
    ) -> None:
        demands = [
            replace(demand(self.tenant, amount, f"lookup:{uuid4()}", provider), **data.draw(SPENT_FOR))
            for amount, provider in zip(amounts, providers, strict=False)
        ]
        api_key_id = None if key is None else self.api_keys[key].pk
        spender = Spender(api_key_id=api_key_id, search=f"search:{uuid4()}", max_credits=max_credits)
        before = self.balances(), counted()
        try:
            in_one(ledger.hold, demands, spender)
        except LimitReached:
            assert (self.balances(), counted()) == before
            return
        self.no_limit_is_passed({demand.provider for demand in demands}, spender)
        self.references += [demand.reference for demand in demands]
        self.agreed |= {demand.reference: demand.amount for demand in demands}
        self.demands |= {demand.reference: demand for demand in demands}
        self.spenders |= {demand.reference: api_key_id for demand in demands}

    def no_limit_is_passed(self, providers: set[str], spender: Spender) -> None:
        for account in Account.objects.filter(tenant=self.tenant, provider__in=providers):
            with connection.cursor() as cursor:
                limits = "billing_limits(%s, %s, %s, %s, %s, %s, NULL, 0)"
                owner = account.pk, account.tenant_id, account.provider
                values = (*owner, self.month, spender.api_key_id, spender.search)
                cursor.execute(f"SELECT count(*) FROM {limits} WHERE used + held > size", values)
                assert cursor.fetchone() == (0,)

    @rule(amount=NONE_OR_SOME, provider=st.sampled_from(PROVIDERS))
    def cap_the_tenant(self, amount: Decimal, provider: str) -> None:
        cap_tenant(self.tenant, amount, provider)
        account = ledger.account_of(self.tenant, provider)
        in_one(alerts.cap_changed, account)
        self.cap_changes.add(account, self.month, None, amount)

    @rule(amount=NONE_OR_SOME, provider=st.sampled_from(PROVIDERS), key=st.sampled_from((0, 1)))
    def cap_a_key(self, amount: Decimal, provider: str, key: int) -> None:
        cap_key(self.api_keys[key], amount, provider)
        account = ledger.account_of(self.tenant, provider)
        in_one(alerts.cap_changed, account, self.api_keys[key].pk)
        self.cap_changes.add(account, self.month, self.api_keys[key].pk, amount)

    @rule()
    def lift_all_caps(self) -> None:
        TenantCap.objects.all().delete()
        KeyCap.objects.all().delete()
        for account in (self.prepaid, self.metered):
            for spender in (None, *(key.pk for key in self.api_keys)):
                self.cap_changes.add(account, self.month, spender, None)

    @rule()
    def end_the_month(self) -> None:
        self.month = caps.next_month(self.month).date()
        it_is(self.month)

    @rule(data=st.data(), amount=CREDITS)
    def charge(self, data: st.DataObject, amount: Decimal) -> None:
        reference = self.known(data)
        open_before = ledger.tallies([reference])[reference].held
        assert in_one(ledger.charge, reference, amount, key=str(uuid4())) == min(amount, open_before)

    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        reference = self.known(data)
        # A lookup ends once.
        if not Entry.objects.filter(key=f"release:{reference}").exists():
            in_one(ledger.close, reference)
            assert ledger.tallies([reference])[reference].held == 0

    @rule(data=st.data(), amount=NONE_OR_SOME)
    def close(self, data: st.DataObject, amount: Decimal) -> None:
        reference = self.known(data)
        if not Entry.objects.filter(key=f"release:{reference}").exists():
            open_before = ledger.tallies([reference])[reference].held
            assert in_one(ledger.close, reference, amount, key=str(uuid4())) == min(amount, open_before)
            assert ledger.tallies([reference])[reference].held == 0

    @rule(data=st.data(), amount=CREDITS)
    def lose(self, data: st.DataObject, amount: Decimal) -> None:
        in_one(ledger.set_unknown, self.known(data), amount)

    @rule(data=st.data(), amount=CREDITS)
    def ask_once_more(self, data: st.DataObject, amount: Decimal) -> None:
        reference = self.known(data)
        before = counted()
        if in_one(ledger.hold_more, reference, amount, key=str(uuid4())):
            self.agreed[reference] += amount
        else:
            assert counted() == before

    @rule(data=st.data(), charged=CREDITS, amount=st.none() | CREDITS)
    def settle(self, data: st.DataObject, charged: Decimal, amount: Decimal | None) -> None:
        before = self.balances()
        try:
            ledger.settle(self.known(data), charged=charged, amount=amount)
        except ValueError:
            assert self.balances() == before

    @precondition(lambda self: self.demands)
    @rule(data=st.data())
    def erase(self, data: st.DataObject) -> None:
        one = self.demands[self.known(data)]
        in_one(
            usage.forget_metadata,
            self.tenant.pk,
            [(one.reference, one.source, one.provider)],
            metadata=json.dumps(dict(one.metadata)),
        )
        self.demands[one.reference] = replace(one, metadata={})

    @rule(data=st.data(), amount=CREDITS)
    def die_between_two_statements(self, data: st.DataObject, amount: Decimal) -> None:
        """Makes some movements in one transaction that is never committed."""
        before, entries = self.balances(), Entry.objects.count()
        reference = self.known(data)
        # A grant may have made the account prepaid: then it may have no room.
        with suppress(ZeroDivisionError, LimitReached), transaction.atomic():
            ledger.hold([demand(self.tenant, amount, f"lookup:{uuid4()}", "memories")])
            ledger.charge(reference, amount, key=str(uuid4()))
            ledger.set_unknown(reference, amount)
            raise ZeroDivisionError
        assert (self.balances(), Entry.objects.count()) == (before, entries)

    @rule(
        amount=CREDITS,
        metered=st.booleans(),
        days=st.none() | st.integers(1, 3),
        priority=st.sampled_from((0, 50, 50, 100)),
    )
    def grant(self, amount: Decimal, metered: bool, days: int | None, priority: int) -> None:
        expires_at = None if days is None else expires_in(days=days)
        ledger.grant(self.metered if metered else self.prepaid, amount, priority=priority, expires_at=expires_at)

    @rule(days=st.sampled_from((1, 2)))
    def grants_come_to_their_end(self, days: int) -> None:
        passing.days_pass(days)

    @rule(crash=st.booleans())
    def expire_what_is_due(self, crash: bool) -> None:
        due = passing.due()
        with suppress(ZeroDivisionError), transaction.atomic():
            assert grants.expire_due() == due
            if crash:
                raise ZeroDivisionError
        assert passing.due() == (due if crash else 0)

    @rule(amount=SOME, metered=st.booleans())
    def adjust(self, amount: Decimal, metered: bool) -> None:
        before = self.balances()
        account = self.metered if metered else self.prepaid
        account.refresh_from_db()
        try:
            ledger.adjust(account, amount, memo="by hand", person="olive", corrects=str(account.last_number))
        except ValueError:
            assert self.balances() == before

    @rule(metered=st.booleans())
    def end_a_month(self, metered: bool) -> None:
        assert end_month(self.metered if metered else self.prepaid) == 1

    @rule(amount=CREDITS, metered=st.booleans(), crash=st.booleans())
    def close_a_month_by_a_movement(self, amount: Decimal, metered: bool, crash: bool) -> None:
        """The first movement after a month's end closes it, and only if it is committed."""
        account = self.metered if metered else self.prepaid
        if statements_of(account):
            return
        before = Account.objects.get(pk=account.pk)
        expiries = 0
        with suppress(ZeroDivisionError, LimitReached), transaction.atomic():
            open_since(account, 1)
            ended = account.grants.filter(available__gt=0, expires_at__lt=end_of_open_month(account))
            expiries = ended.count()
            ledger.grant(account, amount)
            if crash:
                raise ZeroDivisionError
        assert ranges(account) == ([] if crash else [(1, before.last_number + expiries)])

    def balances(self) -> list[tuple[Decimal, Decimal, Decimal]]:
        own = Account.objects.filter(tenant=self.tenant).order_by("provider")
        return list(own.values_list("posted", "held", "unknown"))

    @invariant()
    def every_balance_follows_from_the_entries_and_every_chain_is_whole(self) -> None:
        assert audit.differences() == []

    @invariant()
    def numbers_have_no_gaps_and_every_past_balance_equals_a_replay(self) -> None:
        for account in Account.objects.all():
            entries = entries_of(account)
            assert [entry.number for entry in entries] == list(range(1, account.last_number + 1))
            kept = [(entry.posted_after, entry.held_after, entry.unknown_after) for entry in entries]
            assert kept == replayed(entries)

    @invariant()
    def what_is_left_of_each_grant_and_drawn_by_each_hold_equals_a_replay(self) -> None:
        for account in Account.objects.all():
            replay = granting.replayed(account)
            kept = {grant.number: (grant.available, grant.expired) for grant in account.grants.all()}
            assert kept == {number: (replay.left[number], replay.expired[number]) for number in replay.left}
            assert granting.drawn(account) == replay.drawn()
            assert account.kind == "metered" or sum(replay.left.values()) <= replay.available

    @invariant()
    def every_entry_is_in_one_statement_or_in_the_open_month(self) -> None:
        for account in Account.objects.all():
            entries = entries_of(account)
            replay = [(Decimal(0),) * 3, *replayed(entries)]
            last = 0
            for statement in statements_of(account):
                assert statement.first_number == last + 1
                last = statement.last_number
                kept = (statement.closing_posted, statement.closing_held, statement.closing_unknown)
                assert kept == replay[last]
                own = entries[statement.first_number - 1 : last]
                for kind, name in Statement.SUMS.items():
                    assert getattr(statement, name) == sum(each.amount for each in own if each.kind == kind)
            assert last <= account.last_number

    @invariant()
    def every_trial_balance_is_zero(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM billing_trial_balance WHERE balance <> 0")
            assert cursor.fetchone() == (0,)

    @invariant()
    def usage_equals_the_charges_by_whatever_it_is_grouped(self) -> None:
        """Each charge counts for what its lookup was held for, but for metadata that were erased."""
        due: dict[str, dict[tuple[str, ...], Decimal]] = {groups: defaultdict(Decimal) for groups in GROUPINGS}
        for entry in Entry.objects.filter(account__tenant=self.tenant, kind="charge").select_related("account"):
            one = self.demands[entry.reference]
            by = str(self.spenders[entry.reference] or "")
            texts = {"source": one.source, "api_key": by, "day": f"{entry.created_at:%Y-%m-%d}"}
            texts |= {f"metadata.{key}": f"={text}" for key, text in one.metadata.items()}
            for groups, lines in due.items():
                lines[entry.account.provider, *(texts.get(group, "") for group in groups.split(","))] += entry.amount
        for groups, lines in due.items():
            report = usage.UsageReport(tenant_id=self.tenant.pk, groups=groups.split(","))
            found = {tuple(line[key] for key in report.keys): line["charged"] for line in report.page(None, 1000)}
            assert found == lines

    @invariant()
    def the_shares_that_were_announced_are_those_that_a_replay_reaches(self) -> None:
        """Each is announced once, in its period."""
        assert announced(self.tenant) == replayed_shares(self.tenant, self.cap_changes)

    @invariant()
    def an_account_has_unknown_what_its_holds_have(self) -> None:
        for account in Account.objects.annotate(of_holds=Sum("holds__unknown")):
            assert account.unknown == (account.of_holds or 0)

    @invariant()
    def nothing_is_below_zero(self) -> None:
        for account in Account.objects.all():
            assert account.held >= account.unknown >= 0
            assert account.kind == "metered" or account.posted >= account.held

    @invariant()
    def no_lookup_costs_more_than_was_agreed_to(self) -> None:
        for reference, found in ledger.tallies(self.references).items():
            assert found.held + found.charged + found.unknown <= self.agreed[reference]


def test_whatever_happens_the_money_is_right(db: None) -> None:
    run_state_machine_as_test(
        Money, settings=hypothesis.settings(max_examples=20, stateful_step_count=15, deadline=None)
    )
