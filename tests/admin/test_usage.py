"""The page of usage shows what a day's charges were for, and is only read."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from tests.admin.conftest import SOURCE, World

USAGE = reverse("admin:billing_usage_changelist")


@pytest.mark.parametrize("wanted", [lambda world: str(world.key.pk), lambda world: SOURCE, lambda world: "Alice"])
def test_usage_is_found_by_tenant_source_and_key(desk: Client, world: World, wanted: object) -> None:
    assert callable(wanted)
    page = desk.get(USAGE, {"q": wanted(world)}).content.decode()
    for shown in (SOURCE, str(world.key.pk), "2.5", "5"):
        assert shown in page
    assert desk.get(reverse("admin:billing_usage_add")).status_code == 403


def test_usage_of_nothing_else_is_shown(desk: Client, world: World) -> None:
    assert SOURCE not in desk.get(USAGE, {"q": "public-videos"}).content.decode()
