"""A lookup that is closed leaves what it would leave if it were charged and then released."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from uuid import uuid4

import hypothesis

from accounts.models import Tenant
from billing import ledger
from billing.models import Entry, Hold
from tests.billing.test_ledger import CREDITS, demand, in_one
from tests.billing.test_ledger_laws import NONE_OR_SOME


def charge_and_release(reference: str, cost: Decimal, *, key: str) -> Decimal:
    charged = ledger.charge(reference, cost, key=key)
    ledger.close(reference)
    return charged


def left_by(end: Callable[..., Decimal], *, held: Decimal, spent: Decimal, lost: Decimal, cost: Decimal) -> object:
    """Returns everything but the names of a lookup that cost and lost this much before this end."""
    tenant = Tenant.objects.create(name=str(uuid4()))
    account = ledger.account_of(tenant, "modash")
    reference, key = f"lookup:{uuid4()}", str(uuid4())
    ledger.grant(account, held)
    in_one(ledger.hold, [demand(tenant, held, reference)])
    in_one(ledger.charge, reference, spent, key=str(uuid4()))
    in_one(ledger.set_unknown, reference, lost)
    charged = in_one(end, reference, cost, key=key)
    account.refresh_from_db()
    names = {f"charge:{key}": "charge", f"release:{reference}": "release"}
    entries = Entry.objects.filter(reference=reference, key__in=names).order_by("number")
    return (
        charged,
        (account.posted, account.held),
        list(Hold.objects.filter(reference=reference, account=account).values_list("open", "unknown")),
        [(names[key], *rest) for key, *rest in entries.values_list("key", "kind", "amount", "memo")],
    )


def test_to_close_is_to_charge_and_then_to_release(db: None) -> None:
    @hypothesis.settings(max_examples=60, deadline=None)
    @hypothesis.given(held=CREDITS, spent=NONE_OR_SOME, lost=NONE_OR_SOME, cost=NONE_OR_SOME)
    def law(**amounts: Decimal) -> None:
        assert left_by(ledger.close, **amounts) == left_by(charge_and_release, **amounts)

    law()
