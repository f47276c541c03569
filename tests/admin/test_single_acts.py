"""The acts on one row that make something new: a secret, a search, a delivery. Each is on record with its reason."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.db.models import Model
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import keys
from accounts.models import Act, ApiKey, Delivery, Endpoint
from accounts.webhooks import endpoints
from searches.models import Lookup, Search
from tests.admin.conftest import World
from tests.admin.test_bulk_acts import failed, waiting_lookups
from tests.admin.test_pages import page_of

WHY = "They asked us to."


def press(desk: Client, action: str, row: Model, **form: object) -> Any:
    path = reverse(f"admin:{row._meta.app_label}_{row._meta.model_name}_{action}", args=[row.pk])
    return desk.post(path, {"_form_submitted": "on", "reason": WHY} | form)


def last() -> Act:
    return Act.objects.latest("pk")


def secret_in(answer: Any) -> str:
    """Returns the secret that the dialog shows."""
    assert answer.headers["HX-Retarget"] == "#dialog"
    assert "no-store" in answer.headers["Cache-Control"]
    found = re.search(r'aria-label="Secret" value="([^"]+)"', answer.content.decode())
    assert found is not None
    return found[1]


def test_a_rotated_key_is_shown_once_and_the_former_secret_ends_when_it_was_said(desk: Client, world: World) -> None:
    secret = secret_in(press(desk, "rotate", world.key, overlap_hours="0"))
    assert keys.find(secret) == world.key
    assert keys.find(world.key_secret) is None
    assert (last().kind, last().reason) == ("rotate", WHY)
    kept = str(list(Act.objects.values())) + desk.get(page_of(world.key)).content.decode() + str(desk.cookies)
    assert secret not in kept
    for wrong in ("-1", "721", ""):
        assert "HX-Retarget" not in press(desk, "rotate", world.key, overlap_hours=wrong).headers
    press(desk, "revoke", world.key)
    assert press(desk, "rotate", world.key, overlap_hours="0").status_code == 403
    assert ApiKey.objects.get().revoked_at is not None


def test_a_rotated_signing_secret_is_shown_once_and_signs_beside_the_former(desk: Client, world: World) -> None:
    secret = secret_in(press(desk, "rotate", world.endpoint))
    endpoint = Endpoint.objects.get(pk=world.endpoint.pk)
    assert endpoints.secrets_of(endpoint, at=timezone.now()) == [secret, world.endpoint_secret]
    assert (last().kind, last().reason, last().tenant) == ("rotate", WHY, world.tenant)
    assert secret not in str(list(Act.objects.values()))


def test_a_range_of_deliveries_is_sent_once_more(desk: Client, world: World) -> None:
    Delivery.objects.update(state="failed", next_attempt_at=None, finished_at=Now())
    now = timezone.now()
    span = {"since": now - timedelta(hours=1), "until": now + timedelta(minutes=1)}
    texts = {name: f"{moment:%Y-%m-%d %H:%M}" for name, moment in span.items()}
    press(desk, "resend_range", world.endpoint, states="delivered", **texts)
    assert Delivery.objects.get().state == "failed"
    press(desk, "resend_range", world.endpoint, states="failed", **texts)
    assert Delivery.objects.get().state == "pending"
    assert last().detail.startswith("Sent 1 once more: failed, from ")


@pytest.mark.parametrize("until", ["2026-11-01 00:00", "2026-10-31 00:00", "soon", ""])
def test_a_range_that_is_none_is_refused(desk: Client, world: World, until: str) -> None:
    answer = press(desk, "resend_range", world.endpoint, states="failed", since="2026-11-01 00:00", until=until)
    assert "HX-Redirect" not in answer.headers
    assert answer.context["form"].errors


def test_a_failed_search_is_retried_in_a_new_one(desk: Client, world: World) -> None:
    assert press(desk, "retry", world.search).status_code == 403
    failed(world.search)
    answer = press(desk, "retry", world.search)
    new = Search.objects.get(retry_of=world.search)
    assert answer.headers["HX-Redirect"] == page_of(new)
    assert (last().object_id, last().detail) == (str(world.search.pk), f"Retried in the search {new.pk}.")


def test_a_retry_that_is_refused_says_why_and_leaves_nothing(desk: Client, world: World) -> None:
    failed(world.search)
    keys.revoke(world.key)
    before = Act.objects.count()
    answer = press(desk, "retry", world.search)
    assert "Its API key is revoked." in desk.get(answer.headers["HX-Redirect"]).content.decode()
    assert (Search.objects.count(), Act.objects.count()) == (1, before)


def test_one_lookup_is_canceled_and_its_search_goes_on(desk: Client, world: World) -> None:
    first, second = waiting_lookups(world, 2)
    press(desk, "cancel", first)
    assert [Lookup.objects.get(pk=each.pk).status for each in (first, second)] == ["canceled", "queued"]
    assert Search.objects.get(pk=first.search_id).finished_at is None
    assert (last().kind, last().object_id, last().reason) == ("cancel", str(first.pk), WHY)
    assert press(desk, "cancel", first).status_code == 403
