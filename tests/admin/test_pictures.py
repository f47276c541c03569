"""Whatever a tenant sent, operators see it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.test import Client
from django.urls import reverse
from PIL import Image as Picture

from accounts.models import Tenant
from searches import pictures
from searches.models import PictureUsage
from searches.pictures import isolation
from tests.searches import samples

SENT = {
    "gif": samples.animated("GIF"),
    "bmp": samples.written(samples.picture(), "BMP"),
    "heic": samples.heic(),
    "avif": samples.written(samples.half_clear(), "AVIF"),
}


@pytest.mark.parametrize("format", SENT)
def test_a_picture_of_any_format_is_shown(desk: Client, alice: Tenant, format: str) -> None:
    with pictures.received(alice, SENT[format], fit={}) as draft, transaction.atomic():
        image = draft.save()
    assert image.format == format
    response = desk.get(reverse("admin:searches_image_picture", args=[image.pk]))
    assert Picture.open(BytesIO(response.content)).size == (image.width, image.height)


@pytest.mark.parametrize("name", ["lost.gif", "lost.jpg.bak", "lost", "lost.jpg", "damaged.jpg"])
def test_one_that_cannot_be_shown_is_not_found(desk: Client, alice: Tenant, name: str) -> None:
    with pictures.received(alice, samples.jpeg(), fit={}) as draft, transaction.atomic():
        image = draft.save()
    image.file = f"{alice.pk}/{name}"
    image.save(update_fields=["file"])
    if name.startswith("damaged"):
        default_storage.save(image.file, ContentFile(samples.TEXT))
    response = desk.get(reverse("admin:searches_image_picture", args=[image.pk]))
    assert response.status_code == 404


def test_a_large_one_is_made_small_in_its_turn(desk: Client, alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    with pictures.received(alice, samples.jpeg(), fit={}) as draft, transaction.atomic():
        image = draft.save()
    address = reverse("admin:searches_image_picture", args=[image.pk])
    monkeypatch.setattr(isolation, "LARGE_PIXELS", 1_000)
    monkeypatch.setattr(isolation.large_ones, "places", 0)
    with isolation.large_ones.turn_of(uuid4()):
        assert desk.get(address).status_code == 503
    assert desk.get(address).status_code == 200


def test_a_small_picture_is_made_once_and_erased_with_its_picture(desk: Client, alice: Tenant) -> None:
    with pictures.received(alice, samples.jpeg(), fit={}) as draft, transaction.atomic():
        image = draft.save()
        draft.hold()
    before = PictureUsage.objects.get().bytes
    address = reverse("admin:searches_image_thumbnail", args=[image.pk])
    first = desk.get(address)
    small = Picture.open(BytesIO(first.content))
    assert (small.format, max(small.size) <= 96) == ("WEBP", True)
    assert "no-store" in first.headers["Cache-Control"]
    copy = image.renderings.get()
    assert PictureUsage.objects.get().bytes == before + copy.bytes
    default_storage.delete(image.file)
    assert desk.get(address).content == first.content
    pictures.erase(image)
    assert PictureUsage.objects.get().bytes == 0
    assert desk.get(address).status_code == 404


def test_a_tenant_without_room_for_a_small_picture_has_it_shown_and_not_kept(desk: Client, alice: Tenant) -> None:
    with pictures.received(alice, samples.jpeg(), fit={}) as draft, transaction.atomic():
        image = draft.save()
        draft.hold()
    Tenant.objects.update(most_image_bytes=PictureUsage.objects.get().bytes)
    address = reverse("admin:searches_image_thumbnail", args=[image.pk])
    assert desk.get(address).status_code == 200
    assert not image.renderings.exists()
    assert [path.name for path in default_storage_files()] == [image.file.rpartition("/")[2]]


def default_storage_files() -> list[Path]:
    return [path for path in Path(default_storage.path("")).rglob("*") if path.is_file()]
