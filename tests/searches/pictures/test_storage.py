"""Rows and files of pictures are written together and erased together."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from django.core.files.storage import default_storage
from django.db import OperationalError, connection, transaction
from pytest_django import DjangoAssertNumQueries

from accounts.models import Tenant
from providers.contract import PictureLimits
from searches import pictures
from searches.models import Image, Rendering
from searches.pictures import BadPicture, isolation
from tests.searches import samples

WEB = PictureLimits(formats=("JPEG", "PNG", "WEBP"), max_bytes=3_750_000)
ONLY_JPEG = PictureLimits(formats=("JPEG",), max_bytes=1_000_000)
TIGHT = PictureLimits(formats=("JPEG",), max_bytes=1_000)


def keep(tenant: Tenant, content: bytes, **fit: PictureLimits) -> Image:
    with pictures.received(tenant, content, fit=fit) as picture, transaction.atomic():
        return picture.save()


def files(storage: Path) -> set[str]:
    return {str(path.relative_to(storage)) for path in storage.rglob("*") if path.is_file()}


def test_a_picture_is_stored_with_what_is_to_be_known_of_it(alice: Tenant, storage: Path) -> None:
    content = samples.jpeg(exif=samples.exif(6))
    image = keep(alice, content, modash=WEB)
    image.refresh_from_db()
    assert (image.tenant, image.format, image.width, image.height) == (alice, "jpeg", 48, 64)
    assert (image.bytes, len(image.sha256), len(image.pixels_sha256)) == (len(content), 64, 64)
    assert image.file.startswith(f"{alice.id}/")
    assert files(storage) == {image.file}


def test_a_picture_within_the_limits_is_its_own_rendering(alice: Tenant) -> None:
    image = keep(alice, samples.jpeg(), modash=WEB)
    row = image.renderings.get()
    picture = samples.rendering(image.id, "modash")
    assert (row.provider, row.file, row.bytes) == ("modash", image.file, len(picture.content))
    assert picture.media_type == "image/jpeg"
    assert samples.read(picture.content).size == (64, 48)
    assert "content" not in repr(picture)


def test_each_provider_gets_what_it_takes(alice: Tenant, storage: Path) -> None:
    image = keep(alice, samples.png(600, 400), modash=WEB, keyapi=ONLY_JPEG, memories=TIGHT)
    sent = {provider: samples.rendering(image.id, provider) for provider in ("modash", "keyapi", "memories")}
    assert [sent[provider].media_type for provider in sent] == ["image/png", "image/jpeg", "image/jpeg"]
    assert len(sent["memories"].content) <= 1_000
    assert samples.read(sent["keyapi"].content).size == (600, 400)
    assert len(files(storage)) == 3


def test_the_same_bytes_are_stored_once_and_not_decoded_again(
    alice: Tenant, storage: Path, django_assert_num_queries: DjangoAssertNumQueries
) -> None:
    first = keep(alice, samples.jpeg(), modash=WEB)
    with patch.object(isolation.decoders, "ask", side_effect=AssertionError("decoded")):
        again = keep(alice, samples.jpeg(), modash=WEB)
    assert again == first
    assert files(storage) == {first.file}


def test_two_tenants_never_share_a_picture(alice: Tenant, charlie: Tenant, storage: Path) -> None:
    of_alice, of_charlie = keep(alice, samples.jpeg()), keep(charlie, samples.jpeg())
    assert of_alice.sha256 == of_charlie.sha256
    assert of_alice.pk != of_charlie.pk
    assert files(storage) == {of_alice.file, of_charlie.file}


def test_a_known_picture_gets_only_the_renderings_that_it_lacks(alice: Tenant, storage: Path) -> None:
    image = keep(alice, samples.png(), modash=WEB)
    with pictures.known(image, fit={"modash": WEB, "keyapi": ONLY_JPEG}) as picture, transaction.atomic():
        assert picture.save() == image
    added = image.renderings.get(provider="keyapi")
    assert files(storage) == {image.file, added.file}
    assert image.renderings.count() == 2


def test_a_picture_that_is_sent_again_gets_them_too(alice: Tenant, storage: Path) -> None:
    image = keep(alice, samples.png())
    assert not image.renderings.exists()
    assert keep(alice, samples.png(), modash=WEB, keyapi=ONLY_JPEG) == image
    assert image.renderings.get(provider="modash").file == image.file
    assert len(files(storage)) == 2


@pytest.mark.parametrize("content", [b"", samples.TEXT, samples.png()[:-20], samples.png_bomb()])
def test_a_bad_picture_leaves_nothing(alice: Tenant, storage: Path, content: bytes) -> None:
    with pytest.raises(BadPicture):
        keep(alice, content, modash=WEB)
    assert not Image.objects.exists()
    assert files(storage) == set()


def test_a_transaction_that_fails_leaves_nothing(alice: Tenant, storage: Path) -> None:
    def refused() -> None:
        with (
            pictures.received(alice, samples.png(), fit={"modash": WEB, "keyapi": ONLY_JPEG}) as picture,
            transaction.atomic(),
        ):
            picture.save()
            assert len(files(storage)) == 2
            raise LookupError("no credits")

    with pytest.raises(LookupError):
        refused()
    assert (Image.objects.count(), Rendering.objects.count(), files(storage)) == (0, 0, set())


def test_a_picture_that_was_not_saved_leaves_nothing(alice: Tenant, storage: Path) -> None:
    with pictures.received(alice, samples.jpeg(), fit={"modash": WEB}) as picture:
        picture.wait()
        assert len(files(storage)) == 1
    assert files(storage) == set()


def test_a_failure_after_the_commit_keeps_the_files(alice: Tenant, storage: Path) -> None:
    def wake_up() -> None:
        raise LookupError("no broker")

    with suppress(LookupError), pictures.received(alice, samples.jpeg(), fit={}) as picture:
        with transaction.atomic():
            picture.save()
        wake_up()
    assert files(storage) == {Image.objects.get().file}


@pytest.mark.django_db(transaction=True)
def test_a_connection_lost_before_the_commit_leaves_nothing(storage: Path) -> None:
    alice = Tenant.objects.create(name="Alice")
    with (
        suppress(OperationalError),
        pictures.received(alice, samples.jpeg(), fit={"modash": WEB}) as picture,
        transaction.atomic(),
    ):
        picture.save()
        lose_connection()
    assert (Image.objects.count(), files(storage)) == (0, set())


def lose_connection() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        backend = cursor.fetchone()
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", backend)
    other.close()


def test_files_stay_where_the_database_cannot_be_asked_whose_they_are(alice: Tenant, storage: Path) -> None:
    with transaction.atomic(), suppress(LookupError), pictures.received(alice, samples.jpeg(), fit={}):
        transaction.set_rollback(True)
        raise LookupError("in a transaction that takes no more questions")
    assert len(files(storage)) == 1


def test_a_storage_that_fails_half_way_leaves_nothing(alice: Tenant, storage: Path) -> None:
    save = default_storage.save
    saved: list[str] = []

    def save_one(name: str, content: Any) -> str:
        if saved:
            raise OSError("disk full")
        saved.append(name)
        return save(name, content)

    with patch.object(default_storage, "save", save_one), pytest.raises(OSError, match="disk full"):
        keep(alice, samples.png(), keyapi=ONLY_JPEG)
    assert saved
    assert (Image.objects.count(), files(storage)) == (0, set())


def test_a_transaction_may_be_tried_again(alice: Tenant, storage: Path) -> None:
    with pictures.received(alice, samples.png(), fit={"keyapi": ONLY_JPEG}) as picture:
        with suppress(LookupError), transaction.atomic():
            picture.save()
            raise LookupError("a deadlock")
        with transaction.atomic():
            image = picture.save()
    assert files(storage) == {image.file, image.renderings.get().file}


def at_once(work: Callable[[int], None], count: int) -> None:
    together = threading.Barrier(count)

    def run(number: int) -> None:
        together.wait()
        try:
            work(number)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.django_db(transaction=True)
def test_equal_pictures_sent_at_once_become_one(storage: Path) -> None:
    alice = Tenant.objects.create(name="Alice")
    saved: list[UUID] = []
    inside = threading.Barrier(8)
    fits = [{"modash": WEB}, {"modash": WEB, "keyapi": ONLY_JPEG}]

    def send(number: int) -> None:
        with pictures.received(alice, samples.png(), fit=fits[number % 2]) as picture:
            inside.wait()
            with transaction.atomic():
                saved.append(picture.save().pk)

    at_once(send, 8)
    image = Image.objects.get()
    assert saved == [image.pk] * 8
    assert image.renderings.get(provider="modash").file == image.file
    assert files(storage) == {image.file, image.renderings.get(provider="keyapi").file}


@pytest.mark.django_db(transaction=True)
def test_the_loser_of_a_race_that_rolls_back_takes_nothing_with_it(storage: Path) -> None:
    alice = Tenant.objects.create(name="Alice")
    inside = threading.Barrier(4)

    def send(number: int) -> None:
        with (
            suppress(LookupError),
            pictures.received(alice, samples.jpeg(), fit={"modash": WEB}) as picture,
        ):
            inside.wait()
            with transaction.atomic():
                picture.save()
                if number:
                    raise LookupError("no credits")

    at_once(send, 4)
    image = Image.objects.get()
    assert files(storage) == {image.file}
    assert samples.read(samples.rendering(image.id, "modash").content).size == (64, 48)


def test_the_sweep_removes_what_no_row_names_once_it_is_old(alice: Tenant, storage: Path) -> None:
    image = keep(alice, samples.png(), keyapi=ONLY_JPEG)
    image.renderings.all().delete()
    (storage / "notes.txt").write_text("not ours")
    (storage / str(alice.id) / "notes.txt").write_text("not ours either")
    assert pictures.sweep_orphans(3600) == 0
    assert pictures.sweep_orphans(-60) == 1
    assert files(storage) == {image.file, "notes.txt", f"{alice.id}/notes.txt"}


def test_a_sweep_of_an_empty_storage_is_no_error(alice: Tenant, storage: Path) -> None:
    assert not storage.exists()
    assert pictures.sweep_orphans(3600) == 0


def test_a_sweep_is_bounded_and_ends(alice: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    for side in range(1, 6):
        keep(alice, samples.png(side, side))
    Image.objects.all().delete()
    monkeypatch.setattr("searches.pictures.sweeping.SWEPT_AT_ONCE", 2)
    assert [pictures.sweep_orphans(-60) for _ in range(4)] == [2, 2, 1, 0]
