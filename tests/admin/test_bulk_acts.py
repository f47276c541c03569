"""Acts on all rows that match a list's filter: asked first, done once a row whatever happens to workers, and on record."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import Permission
from django.db import transaction
from django.db.models import Model
from django.db.models.functions import Now
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from accounts import keys
from accounts.bulk_acts import runs
from accounts.models import Act, BulkAct, Delivery, User
from accounts.webhooks import endpoints, redelivery
from billing.models import Account, Hold
from providers.keyring import credentials
from providers.models import Credential
from searches import pictures
from searches.lanes import queue
from searches.lifecycle import completion
from searches.models import Lookup, Search, Status
from searches.orders import submission
from searches.orders.order import LookupOrder, Order
from tests.admin.conftest import SOURCE, World, build
from tests.admin.test_pages import address, page_of, queries
from tests.racing import at_once

WHY = "Their shop is closed."


@pytest.fixture
def waiting(world: World) -> list[Lookup]:
    """Returns six waiting lookups of the world's tenant, of which one was there before."""
    return [world.lookup, *waiting_lookups(world, 5)]


def waiting_lookups(world: World, count: int, *, of_a_search: int = 5) -> list[Lookup]:
    """Submits searches of so many lookups each, of one result."""
    lookups: list[Lookup] = []
    while len(lookups) < count:
        wanted = [LookupOrder(source=SOURCE, parameters={}, limit=1)] * min(of_a_search, count - len(lookups))
        lookups += submission.submit(
            world.key, Order(lookups=wanted), pictures.Draft(image=world.image, stored=True)
        ).lookups
    return lookups


def path_of(model: type[Model], kind: str, **query: object) -> str:
    path = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_bulk", args=[kind])
    return f"{path}?{urlencode(query)}"


def asked(desk: Client, path: str) -> Any:
    answer = desk.get(path)
    assert answer.status_code == 200
    return answer


def start(desk: Client, path: str, *, shown: Any = None, reason: str = WHY) -> BulkAct:
    """Sends the page that asks, as it was shown; returns the bulk act."""
    form = (shown or asked(desk, path)).context["form"]
    desk.post(path, {"reason": reason, "newest": form.initial["newest"], "moment": form.initial["moment"]})
    return BulkAct.objects.latest("pk")


def queued(world: World) -> str:
    return path_of(Lookup, "cancel", status__exact="queued", tenant__id__exact=world.tenant.pk)


def finish(bulk_act: BulkAct) -> BulkAct:
    while runs.run(bulk_act.pk):
        pass
    bulk_act.refresh_from_db()
    return bulk_act


def test_it_is_asked_first_with_its_number_and_what_it_frees(desk: Client, world: World, waiting: list[Lookup]) -> None:
    build("Bob and Sons")
    page = asked(desk, queued(world))
    assert page.context["count"] == 6
    html = page.content.decode()
    assert "tenant: Alice and Sons" in html
    assert "queued" in html
    # One lookup of 40 results and five of one, at 0.025 each.
    assert "It frees what is held for them: 1.125 credits of modash." in html
    started = BulkAct.objects.count()
    assert (
        desk.post(queued(world), {"reason": " ", "newest": world.lookup.pk, "moment": timezone.now()}).status_code
        == 200
    )
    assert BulkAct.objects.count() == started
    assert not Lookup.objects.filter(status="canceled").exists()


def test_a_list_offers_it_with_its_own_filter(desk: Client, world: World) -> None:
    html = desk.get(address(Lookup, "changelist"), {"status__exact": "queued"}).content.decode()
    assert f'{path_of(Lookup, "cancel", status__exact="queued")}"' in html
    assert desk.get(path_of(Lookup, "nothing")).status_code == 404
    assert desk.get(path_of(Lookup, "cancel", tenant__id__exact="nobody")).status_code == 302


def test_all_that_match_are_done_and_nobody_elses(desk: Client, world: World, waiting: list[Lookup]) -> None:
    other = build("Bob and Sons").lookup
    bulk_act = finish(start(desk, queued(world)))
    assert (bulk_act.state, bulk_act.done, bulk_act.skipped, bulk_act.failed) == ("ended", 6, {}, {})
    assert set(Lookup.objects.filter(status="canceled")) == set(waiting)
    assert Account.objects.get(tenant=world.tenant).held == 0
    assert Hold.objects.get(reference=other.reference).open
    assert "6 done" in desk.get(page_of(bulk_act)).content.decode()


def test_it_is_on_record_as_a_whole_and_row_by_row(desk: Client, world: World, waiting: list[Lookup]) -> None:
    bulk_act = finish(start(desk, queued(world)))
    whole = Act.objects.filter(object_id=str(bulk_act.pk)).order_by("pk")
    assert [(act.name, act.kind, act.reason, act.tenant) for act in whole] == [
        ("olive", "cancel", WHY, world.tenant)
    ] * 2
    assert [act.detail for act in whole] == [
        "Started; 6 rows match.",
        "Ended: 6 done, 0 skipped, 0 failed, of 6 that matched.",
    ]
    rows = Act.objects.filter(bulk_act=bulk_act)
    assert sorted(rows.values_list("object_id", flat=True)) == sorted(str(lookup.pk) for lookup in waiting)
    assert WHY in desk.get(address(Lookup, "history", waiting[0].pk)).content.decode()
    log = desk.get("/admin/accounts/act/").context["cl"].result_list
    assert set(whole) <= set(log)
    assert not set(rows) & set(log)
    assert set(rows) == set(
        desk.get(f"/admin/accounts/act/?bulk_act__id__exact={bulk_act.pk}&part=all").context["cl"].result_list
    )


def test_rows_that_arrive_later_are_left_alone(desk: Client, world: World, waiting: list[Lookup]) -> None:
    page = asked(desk, queued(world))
    later = waiting_lookups(world, 2)
    assert finish(start(desk, queued(world), shown=page)).done == 6
    assert {lookup.status for lookup in Lookup.objects.filter(pk__in=[each.pk for each in later])} == {"queued"}


def test_the_age_of_a_filter_is_that_of_the_start(desk: Client, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    bulk_act = start(desk, path_of(Lookup, "cancel", made="hour"))
    BulkAct.objects.filter(pk=bulk_act.pk).update(moment="2999-01-01T00:00:00Z")
    assert finish(bulk_act).done == 0
    assert Lookup.objects.get(pk=world.lookup.pk).status == "queued"


def test_rows_that_end_meanwhile_are_skipped_with_the_reason(desk: Client, world: World, waiting: list[Lookup]) -> None:
    everything = path_of(Lookup, "cancel", tenant__id__exact=world.tenant.pk)
    bulk_act = start(desk, everything)
    finish(start(desk, path_of(Search, "cancel", q=str(waiting[0].search_id))))
    finish(bulk_act)
    assert (bulk_act.done, bulk_act.skipped) == (5, {"It had ended.": 1})
    assert "It had ended." in desk.get(page_of(bulk_act)).content.decode()


def killed(monkeypatch: pytest.MonkeyPatch, *, after: int) -> None:
    """Ends the worker in the transaction of a row, behind so many others."""
    written: Callable[..., None] = runs._Slice._written
    rows: list[Any] = []

    def die(slice: Any, row: Any) -> None:
        written(slice, row)
        rows.append(row)
        if len(rows) > after:
            raise SystemExit

    monkeypatch.setattr(runs._Slice, "_written", die)


def test_a_killed_worker_leaves_each_row_whole_and_the_next_goes_on(
    desk: Client, world: World, waiting: list[Lookup], monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk_act = start(desk, queued(world))
    with monkeypatch.context() as patch:
        killed(patch, after=2)
        with pytest.raises(SystemExit):
            runs.run(bulk_act.pk)
    bulk_act.refresh_from_db()
    assert (bulk_act.done, Lookup.objects.filter(status="canceled").count()) == (2, 2)
    assert not runs.run(bulk_act.pk)
    assert BulkAct.objects.get(pk=bulk_act.pk).done == 2
    BulkAct.objects.update(leased_until=Now())
    assert finish(bulk_act).done == 6
    assert Act.objects.filter(bulk_act=bulk_act).count() == 6


def test_it_is_done_in_slices(
    desk: Client, world: World, waiting: list[Lookup], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "BATCH", 4)
    bulk_act = start(desk, queued(world))
    assert runs.run(bulk_act.pk, seconds=1e-9) is True
    assert runs.run(bulk_act.pk) is False
    bulk_act.refresh_from_db()
    assert (bulk_act.state, bulk_act.done) == ("ended", 6)


def test_it_can_be_stopped(desk: Client, world: World, waiting: list[Lookup], monkeypatch: pytest.MonkeyPatch) -> None:
    bulk_act = start(desk, queued(world))
    with monkeypatch.context() as patch:
        killed(patch, after=2)
        with pytest.raises(SystemExit):
            runs.run(bulk_act.pk)
    BulkAct.objects.update(leased_until=Now())
    stop = reverse("admin:accounts_bulkact_stop", args=[bulk_act.pk])
    desk.post(stop, {"_form_submitted": "on", "reason": "The wrong tenant."})
    assert finish(bulk_act).state == "stopped"
    assert Lookup.objects.filter(status="canceled").count() == 2
    said = list(Act.objects.filter(object_id=str(bulk_act.pk)).order_by("pk").values_list("kind", "detail"))
    assert said[1:] == [
        ("stop", "Stopped at 2 done, 0 skipped, 0 failed, of 6 that matched."),
        ("cancel", "Stopped: 2 done, 0 skipped, 0 failed, of 6 that matched. An operator stopped it."),
    ]
    assert desk.post(stop, {"_form_submitted": "on"}).status_code == 403


@pytest.mark.parametrize("loss", [{"is_active": False}, {"is_staff": False}, {"is_superuser": False}])
def test_an_operator_who_may_no_longer_do_it_stops_it(
    desk: Client, world: World, operator: User, loss: dict[str, bool]
) -> None:
    bulk_act = start(desk, queued(world))
    User.objects.filter(pk=operator.pk).update(**loss)
    finish(bulk_act)
    assert (bulk_act.state, bulk_act.done, bulk_act.note) == ("stopped", 0, "olive may no longer do this.")
    assert Lookup.objects.get(pk=world.lookup.pk).status == "queued"


def test_who_may_not_do_it_is_not_offered_it(client: Client, world: World) -> None:
    tom = User.objects.create(username="tom", is_staff=True)
    tom.user_permissions.set(Permission.objects.filter(codename__in=["view_lookup"]))
    client.force_login(tom)
    assert path_of(Lookup, "cancel") not in client.get(address(Lookup, "changelist")).content.decode()
    assert client.get(queued(world)).status_code == 403
    assert client.post(queued(world), {"reason": WHY}).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_two_workers_do_each_row_once(desk: Client, world: World, waiting: list[Lookup]) -> None:
    bulk_act = start(desk, queued(world))
    at_once([partial(runs.run, bulk_act.pk)] * 4)
    finish(bulk_act)
    assert bulk_act.done == Act.objects.filter(bulk_act=bulk_act).count() == 6


def test_a_worker_that_lost_its_lease_in_the_middle_of_a_row_leaves_it_untouched(
    desk: Client, world: World, waiting: list[Lookup], monkeypatch: pytest.MonkeyPatch
) -> None:
    bulk_act = start(desk, queued(world))
    written: Callable[..., None] = runs._Slice._written

    def overtaken(slice: Any, row: Any) -> None:
        BulkAct.objects.update(lease=None, leased_until=None)
        written(slice, row)

    with monkeypatch.context() as patch:
        patch.setattr(runs._Slice, "_written", overtaken)
        assert not runs.run(bulk_act.pk)
    assert not Lookup.objects.filter(status="canceled").exists()
    BulkAct.objects.update(lease=None, leased_until=None)
    assert finish(bulk_act).done == 6


def test_the_sweep_wakes_up_what_no_worker_has(desk: Client, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    woken: list[Any] = []
    monkeypatch.setattr(runs, "wake_up", woken.append)
    bulk_act = start(desk, queued(world))
    runs.sweep()
    BulkAct.objects.filter(pk=bulk_act.pk).update(leased_until="2999-01-01T00:00:00Z")
    runs.sweep()
    assert woken == [bulk_act.pk]


def test_searches_are_retried_once_each_and_a_refusal_is_told(desk: Client, world: World) -> None:
    failed(world.search)
    path = path_of(Search, "retry", status__exact="failed")
    assert "At most it costs 1 credits of modash." in asked(desk, path).content.decode()
    assert finish(start(desk, path)).done == 1
    new = Search.objects.get(retry_of=world.search)
    assert Hold.objects.filter(reference=new.lookups.get().reference).exists()
    failed(new)
    keys.revoke(world.key)
    bulk_act = finish(start(desk, path))
    assert (bulk_act.done, bulk_act.skipped) == (0, {"Its API key is revoked.": 2})


@transaction.atomic
def failed(search: Search) -> None:
    """Ends what waits of a search as failed."""
    waiting = queue.withdraw(search.lookups.all())
    completion.finish_all(waiting, completion.lock(search.pk), Status.FAILED, completion.credential_deleted())


def test_searches_are_erased(desk: Client, world: World) -> None:
    other = build("Bob and Sons").search
    bulk_act = finish(start(desk, path_of(Search, "erase", tenant__id__exact=world.tenant.pk)))
    assert bulk_act.done == 1
    assert Search.objects.get(erased_at=None) == other


def test_deliveries_are_resent(desk: Client, world: World) -> None:
    disabled, _ = endpoints.create(world.tenant, "live", url="https://shop.example/disabled")
    redelivery.ping(disabled)
    endpoints.disable(disabled)
    Delivery.objects.update(state="failed", next_attempt_at=None, finished_at=Now())
    bulk_act = finish(start(desk, path_of(Delivery, "redeliver", state__exact="failed")))
    assert (bulk_act.done, bulk_act.skipped) == (1, {"Its endpoint is disabled.": 1})
    assert Delivery.objects.get(pk=world.delivery.pk).state == "pending"


def test_keys_are_verified(desk: Client, world: World) -> None:
    credentials.store(world.tenant, "keyapi", "sk_live_1")
    bulk_act = finish(start(desk, path_of(Credential, "verify", provider="keyapi")))
    assert sum(bulk_act.skipped.values()) == 1
    assert "no call that checks a key" in next(iter(bulk_act.skipped))


def test_the_page_that_asks_asks_no_more_queries_of_more_rows(desk: Client, world: World) -> None:
    for model, kind in ((Lookup, "cancel"), (Search, "cancel"), (Search, "retry"), (Delivery, "redeliver")):
        few = queries(desk, path_of(model, kind))
        waiting_lookups(world, 5, of_a_search=1)
        assert queries(desk, path_of(model, kind)) <= few <= 16, model


def test_progress_is_read_by_the_page_while_it_runs(desk: Client, world: World, waiting: list[Lookup]) -> None:
    bulk_act = start(desk, queued(world))
    html = desk.get(page_of(bulk_act)).content.decode()
    (progress,) = re.findall(r'data-address="([^"]+)"', html)
    finish(bulk_act)
    assert desk.get(progress).json() == {"state": "ended", "seen": 6, "outcome": bulk_act.outcome}
