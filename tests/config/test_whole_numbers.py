"""Tests that whole numbers reach the database unchanged, or not at all."""

from __future__ import annotations

import pytest
from django.db import DataError, transaction
from django.db.models import F, Value
from django.db.models.functions import Greatest

from accounts.models import Tenant
from providers import policies
from searches.lanes import directory
from searches.models import Lane

LARGE = 3 * 10**9  # A number that does not fit into four bytes.


def test_a_number_in_an_expression_may_be_large(alice: Tenant) -> None:
    directory.lane_of(policies.of("modash"), mode="live", tenant_id=alice.pk)
    Lane.objects.update(virtual_time=Greatest(LARGE, Value(1)))
    Lane.objects.update(virtual_time=F("virtual_time") + LARGE)
    assert Lane.objects.get().virtual_time == 2 * LARGE


def test_a_number_that_its_column_cannot_hold_is_refused_and_not_cut(alice: Tenant) -> None:
    with pytest.raises(DataError), transaction.atomic():
        Tenant.objects.update(max_age=LARGE)
    with pytest.raises(DataError), transaction.atomic():
        Tenant.objects.update(max_age=F("max_age") + LARGE)
