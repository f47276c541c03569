"""The filter of lanes by why they make no calls. The first page's counts lead here, so it has the same conditions."""

from __future__ import annotations

from django.db.models import Q
from django.db.models.functions import Now

from accounts.models import Mode
from accounts.web.admin_filters import ByCondition

BY_OPERATORS = Q(paused=True)
BY_POLICY = Q(mode=Mode.LIVE, policy__paused=True)
TOLD_TO_WAIT = Q(paused_until__gt=Now())
BREAKER_OPEN = Q(trips__gt=0)


class ByLaneState(ByCondition):
    title, parameter_name = "state", "state"
    conditions = {
        "not paused": ~(BY_OPERATORS | BY_POLICY | TOLD_TO_WAIT | BREAKER_OPEN),
        "paused by operators": BY_OPERATORS,
        "paused by its policy": BY_POLICY,
        "told to wait": TOLD_TO_WAIT,
        "breaker open": BREAKER_OPEN,
    }
