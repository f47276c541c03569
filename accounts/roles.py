"""Makes the ready groups of operators, and gives them their permissions after every `migrate`, those for new models too.

*Operators* do everything but manage operators: who may sign in, and with which rights, is for superusers. *Auditors* see all and
change nothing. Both groups are as the code says: the next `migrate` takes away a permission that was added to them by hand.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth.models import Group, Permission
from django.db.models import Q, QuerySet

OPERATORS, AUDITORS = "Operators", "Auditors"
READY = (OPERATORS, AUDITORS)
APPS = ("accounts", "billing", "providers", "searches")
# Whose rows say who may sign in.
RIGHTS = Q(content_type__app_label="accounts", content_type__model__in=("user", "secondfactor"))
SEES = Q(codename__startswith="view_") & (Q(content_type__app_label__in=APPS) | Q(content_type__model="group"))


def permissions_of(name: str) -> QuerySet[Permission]:
    """Returns what members of a ready group may do. A permission of a new model is among it by itself."""
    sees = Permission.objects.filter(SEES)
    if name == AUDITORS:
        return sees
    return Permission.objects.filter(Q(content_type__app_label__in=APPS) & ~RIGHTS) | sees


def make_groups(**_: Any) -> None:
    for name in READY:
        group, _made = Group.objects.get_or_create(name=name)
        wanted, given = set(permissions_of(name)), set(group.permissions.all())
        if wanted != given:
            group.permissions.set(wanted)
