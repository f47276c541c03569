"""A search's page: its picture, what came of it, and what an operator can do to it."""

from __future__ import annotations

from datetime import timedelta
from io import BytesIO

import pytest
from django.contrib.auth.models import Permission
from django.core.files.storage import default_storage
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from PIL import Image as Picture

from accounts.ids import first_id_of
from accounts.models import User
from providers import registry
from providers.models import Policy
from searches.models import Lane, Lookup, Search, TenantQueue
from tests.admin.conftest import World, build, found
from tests.admin.test_pages import address, page_of


def shown(desk: Client, world: World) -> str:
    return desk.get(page_of(world.search)).content.decode()


def picture_of(world: World) -> str:
    return reverse("admin:searches_image_picture", args=[world.image.pk])


def test_a_search_shows_its_picture_and_all_that_came(desk: Client, world: World) -> None:
    html = shown(desk, world)
    for part in (picture_of(world), page_of(world.lookup), page_of(world.call), page_of(world.result)):
        assert part in html
    for words in ("number 1 in line", "0 charged, 1 held", "830 ms", world.result.title):
        assert words in html


def test_the_picture_is_small_and_of_our_own_making(desk: Client, world: World) -> None:
    response = desk.get(picture_of(world))
    picture = Picture.open(BytesIO(response.content))
    assert (picture.format, max(picture.size)) == ("WEBP", 480)
    assert response.headers["Content-Type"] == "image/webp"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    assert "private" in response.headers["Cache-Control"]


def test_a_picture_that_is_no_longer_stored_is_not_found(desk: Client, world: World) -> None:
    default_storage.delete(world.image.file)
    assert desk.get(picture_of(world)).status_code == 404
    assert desk.get(page_of(world.search)).status_code == 200


def test_a_result_links_to_the_web_without_a_referrer(desk: Client, world: World) -> None:
    html = shown(desk, world)
    assert f'href="{world.result.url}" class="block font-semibold text-link truncate" rel="noreferrer"' in html
    assert f'src="{world.result.image_url}" alt="" loading="lazy" referrerpolicy="no-referrer"' in html


@pytest.mark.parametrize("scheme", ["javascript:alert(1)", "data:text/html,hello", "file:///etc/passwd", "//["])
def test_a_foreign_address_that_is_none_of_the_web_is_no_link(desk: Client, world: World, scheme: str) -> None:
    result = found(world.lookup, 2, title="Odd", url=scheme, image_url=scheme)
    for html in (shown(desk, world), desk.get(page_of(result)).content.decode()):
        assert "Odd" in html
        assert f'="{scheme}' not in html


def test_foreign_text_is_shown_as_text(desk: Client, world: World) -> None:
    result = found(world.lookup, 2, title="<b>bold</b>", raw={"bio": "<script>alert(1)</script>"})
    html = shown(desk, world) + desk.get(page_of(result)).content.decode()
    assert "<b>bold" not in html
    assert "<script>alert(1)" not in html


def test_a_search_that_waits_can_be_canceled(desk: Client, world: World) -> None:
    cancel = reverse("admin:searches_search_cancel", args=[world.search.pk])
    assert cancel in shown(desk, world)
    assert desk.get(cancel).status_code == 200
    assert Search.objects.get().status == "queued"
    assert desk.post(cancel, {"_form_submitted": "on", "reason": "why"}).headers["HX-Redirect"] == page_of(world.search)
    assert Search.objects.get().status == Lookup.objects.get().status == "canceled"
    assert TenantQueue.objects.get().ready == 0


def test_a_search_that_has_ended_cannot_be_canceled(desk: Client, world: World) -> None:
    Search.objects.update(status="succeeded", finished_at=timezone.now())
    cancel = reverse("admin:searches_search_cancel", args=[world.search.pk])
    assert cancel not in shown(desk, world)
    assert desk.post(cancel, {"_form_submitted": "on", "reason": "why"}).status_code == 403


@pytest.mark.parametrize("part", ["search", "lookup", "image"])
def test_a_search_is_found_by_the_id_of_a_part(desk: Client, world: World, part: str) -> None:
    build("Bob and Sons")
    response = desk.get(address(Search, "changelist"), {"q": str(getattr(world, part).pk)})
    assert list(response.context["cl"].result_list) == [world.search]


@pytest.mark.parametrize(("span", "count"), [("hour", 1), ("day", 1), ("week", 2), ("month", 2)])
def test_a_search_is_found_by_its_age(desk: Client, world: World, span: str, count: int) -> None:
    moment = timezone.now() - timedelta(days=2)
    Search.objects.create(id=first_id_of(moment), tenant=world.tenant, image=world.image, expires_at=moment)
    response = desk.get(address(Search, "changelist"), {"made": span})
    assert len(response.context["cl"].result_list) == count


def test_a_lane_shows_its_line(desk: Client, world: World) -> None:
    build("Bob and Sons")
    lane = Lane.objects.get()
    response = desk.get(address(Lane, "changelist"))
    (listed,) = response.context["cl"].result_list
    assert (listed.ready, listed.waiting_tenants) == (2, 2)
    assert "about 2.0 s" in desk.get(page_of(lane)).content.decode()


def test_every_provider_has_a_policy_to_edit(desk: Client, db: None) -> None:
    desk.get(address(Policy, "changelist"))
    assert set(Policy.objects.values_list("provider", flat=True)) == set(registry.PROVIDERS)


def test_a_search_can_be_erased(desk: Client, world: World) -> None:
    erase = reverse("admin:searches_search_erase", args=[world.search.pk])
    assert erase in shown(desk, world)
    assert desk.get(erase).status_code == 200
    assert Search.objects.get().erased_at is None
    assert desk.post(erase, {"_form_submitted": "on", "reason": "why"}).headers["HX-Redirect"] == page_of(world.search)
    html = shown(desk, world)
    assert "erased" in html
    assert erase not in html
    for gone in (picture_of(world), world.result.title):
        assert gone not in html
    assert page_of(world.lookup) in html
    assert desk.post(erase, {"_form_submitted": "on", "reason": "why"}).status_code == 403


def test_who_may_only_cancel_erases_nothing(desk: Client, world: World, operator: User) -> None:
    operator.is_superuser = False
    operator.save()
    operator.user_permissions.set(Permission.objects.filter(codename__in=["view_search", "change_search"]))
    for action, status in (("erase", 403), ("cancel", 200)):
        path = reverse(f"admin:searches_search_{action}", args=[world.search.pk])
        assert desk.post(path, {"_form_submitted": "on", "reason": "why"}).status_code == status
    assert Search.objects.get().erased_at is None


@pytest.mark.parametrize("erasure", ["kept", "erased"])
def test_searches_are_filtered_by_their_erasure(desk: Client, world: World, erasure: str) -> None:
    other = build("Bob and Sons").search
    desk.post(
        reverse("admin:searches_search_erase", args=[world.search.pk]), {"_form_submitted": "on", "reason": "why"}
    )
    response = desk.get(address(Search, "changelist"), {"erasure": erasure})
    assert list(response.context["cl"].result_list) == [other if erasure == "kept" else world.search]


def test_a_lookup_says_whether_it_repeats_another_and_the_list_is_narrowed_by_it(desk: Client, world: World) -> None:
    other = build("Bob and Sons").lookup
    Lookup.objects.filter(pk=other.pk).update(repeat="hit", repeat_of=world.lookup)
    assert page_of(world.lookup) in desk.get(page_of(other)).content.decode()
    listed = desk.get(address(Lookup, "changelist"), {"repeat__exact": "hit"}).context["cl"].result_list
    assert [lookup.pk for lookup in listed] == [other.pk]


def test_a_result_without_a_picture_says_what_is_known_of_it(desk: Client, world: World) -> None:
    moments = [{"start_seconds": 7.5, "end_seconds": 9, "score": 0.9}]
    world.result.delete()
    found(
        world.lookup,
        1,
        type="video",
        title="Part 20",
        detail={"platform": "TIKTOK", "moments": moments},
        image_url=None,
    )
    assert "TIKTOK · at 7.5 s" in shown(desk, world)
