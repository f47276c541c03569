"""A seed is consistent, is made in seconds where it is small, and shows what every list of the admin costs."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib import admin
from django.contrib.admin.utils import quote
from django.contrib.auth.models import Group
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from accounts.models import Delivery, Tenant, User
from billing import audit
from billing.models import Hold, Statement
from searches.models import Call, Lookup, Search, TenantQueue
from tests.seed import filling

pytestmark = pytest.mark.django_db
SEARCHES = 1000


def queries(desk: Client, path: str) -> int:
    with CaptureQueriesContext(connection) as captured:
        assert desk.get(path).status_code == 200, path
    return len(captured)


def test_a_seed_agrees_with_itself_and_every_page_opens_on_it() -> None:
    filling.fill(SEARCHES)
    assert (Search.objects.count(), Tenant.objects.count()) == (SEARCHES, SEARCHES // 100)
    assert audit.differences() == []
    waiting = Lookup.objects.filter(queue_state="ready").count()
    assert waiting == sum(TenantQueue.objects.values_list("ready", flat=True)) > 0
    assert set(Lookup.objects.values_list("status", flat=True)) > {"queued", "succeeded", "failed", "canceled"}
    assert Call.objects.filter(state="answered").exists()
    assert Hold.objects.count() >= waiting
    assert Delivery.objects.count() == Search.objects.exclude(finished_at=None).count()
    assert Statement.objects.exists()
    every_page_opens()
    with pytest.raises(filling.NotEmpty):
        filling.fill(SEARCHES)
    filling.fill(10, anyway=True)
    assert Search.objects.count() == SEARCHES + 10


def every_page_opens() -> None:
    desk = Client()
    desk.force_login(User.objects.create(username="olive", is_staff=True, is_superuser=True))
    desk.get(reverse("admin:index"))
    asked: dict[str, Any] = {}
    for model in admin.site._registry:
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}"
        asked[f"{name}: list"] = queries(desk, reverse(f"{name}_changelist"))
        row = model._default_manager.order_by("pk").last()
        # A role's page names the model of each of its permissions.
        if row is not None and model is not Group:
            asked[f"{name}: row"] = queries(desk, reverse(f"{name}_change", args=[quote(row.pk)]))
    assert {name: count for name, count in asked.items() if count > 25} == {}
