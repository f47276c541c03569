"""Records what operators and commands do, each act within its own transaction: no act without its record, and no record without.

Rows are never changed (`acts.sql`). The admin shows them in one list, and an object's in its history.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db.models import Model, QuerySet
from django.http import HttpRequest

from accounts.models import Act, BulkAct, Tenant, User
from accounts.net.client_address import address_of

ADD, CHANGE, DELETE = "add", "change", "delete"
# The columns by which rows lead to their tenant.
OWNERS = ("account", "api_key", "search", "lookup", "image", "event")
# Every kind of act, for those who look for one. Dialogs add theirs.
kinds = {ADD, CHANGE, DELETE}


@dataclass(frozen=True, kw_only=True)
class Actor:
    """Whose act it is: an operator's, or a command's without one. `address`: where the request came from."""

    name: str
    operator: User | None = None
    address: str = ""


def by_request(request: HttpRequest) -> Actor:
    """Returns the operator who sent the request."""
    user: Any = request.user
    return Actor(name=user.get_username(), operator=user, address=address_of(request))


def by_command(name: str, *, person: str = "") -> Actor:
    """Returns a command of `manage.py`, which has no address. `person`: who says so of themselves."""
    return Actor(name=f"{person} (manage.py {name})" if person else f"manage.py {name}")


def record(
    actor: Actor,
    kind: str,
    row: Model,
    *,
    reason: str = "",
    detail: str = "",
    changes: Sequence[Sequence[Any]] = (),
    bulk_act: BulkAct | None = None,
) -> Act:
    """Records an act on a row. The caller's transaction is the act's own. `bulk_act`: the one that the act is a part of."""
    return Act.objects.create(
        operator=actor.operator,
        name=actor.name[:150],
        address=actor.address[:45],
        kind=kind,
        object_type=row._meta.label_lower,
        object_id=str(row.pk),
        object_label=str(row)[:200],
        tenant_id=tenant_of(row),
        reason=reason[:500],
        detail=detail,
        changes=list(changes),
        bulk_act=bulk_act,
    )


def on(row: Model) -> QuerySet[Act]:
    """Returns the acts on a row, newest first."""
    return Act.objects.filter(object_id=str(row.pk), object_type=row._meta.label_lower)


def tenant_of(row: Any) -> UUID | None:
    """Returns the id of the tenant that a row belongs to, or None."""
    if isinstance(row, Tenant):
        return row.pk
    if getattr(row, "tenant_id", None) is not None:
        return UUID(str(row.tenant_id))
    owners = (getattr(row, name, None) for name in OWNERS)
    return next((tenant_of(owner) for owner in owners if isinstance(owner, Model)), None)
