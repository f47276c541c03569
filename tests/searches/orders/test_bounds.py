"""Bounds of stored pictures and waiting lookups are exact under concurrency, and count only what is still there."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from django.db import transaction
from pytest_django import DjangoCaptureOnCommitCallbacks

from accounts import keys
from accounts.models import ApiKey, Mode, Tenant
from billing import audit
from providers.contract import PictureLimits
from providers.keyring import states
from providers.models import Credential
from searches import pictures
from searches.lanes import backlog
from searches.lifecycle import cancellation, erasure, stored_searches
from searches.models import Image, Lookup, PictureUsage, QueueState, Search, SearchUsage
from tests.racing import at_once, patiently
from tests.searches import samples
from tests.searches.pictures.test_storage import files
from tests.searches.repeating import Asker, answered, asker

BOUNDS = (
    pictures.TooManyImages,
    stored_searches.TooManySearches,
    backlog.TooManyWaitingLookups,
    keys.TooManyApiKeys,
)


def store(tenant: Tenant, content: bytes) -> Image:
    with pictures.received(tenant, content, fit={}) as picture, transaction.atomic():
        image = picture.save()
        picture.hold()
    return image


def cut(image: Image) -> None:
    limits = PictureLimits(formats=("JPEG",), max_bytes=20_000)
    with pictures.known(image, fit={"modash": limits}, crop="0,0,500000,500000") as picture, transaction.atomic():
        picture.save()
        picture.hold()


def accepts(ask: Callable[[], object]) -> bool:
    try:
        patiently(ask)
    except BOUNDS:
        return False
    return True


@pytest.mark.django_db(transaction=True)
def test_fifty_pictures_at_once_fill_the_bound_exactly(alice: Tenant, storage: Path) -> None:
    alice.most_images = 7
    different = [partial(store, alice, samples.jpeg(16 + number, 16)) for number in range(20)]
    asks = [partial(accepts, ask) for ask in (different * 3)[:50]]
    at_once(asks)
    assert Image.objects.for_tenant(alice).count() == 7
    assert len(files(storage)) == 7
    assert (alice.picture_usage.images, alice.picture_usage.bytes) == (
        7,
        size_of(storage),
    )


def size_of(storage: Path) -> int:
    return sum((storage / file).stat().st_size for file in files(storage))


@pytest.mark.django_db
def test_the_bytes_of_all_files_are_counted_until_they_are_erased(
    alice: Tenant, storage: Path, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    small, taken = (
        PictureLimits(formats=("JPEG",), max_bytes=20_000),
        PictureLimits(formats=("JPEG", "PNG"), max_bytes=90_000),
    )
    content = samples.written(samples.picture(900, 700), "AVIF")
    for crop, fit in (
        ("", {}),
        ("", {"modash": small, "keyapi": small}),
        ("0,0,500000,500000", {"modash": small, "keyapi": taken}),
    ):
        with pictures.received(alice, content, fit=fit, crop=crop) as picture, transaction.atomic():
            image = picture.save()
            picture.hold()
        alice.picture_usage.refresh_from_db()
        assert (alice.picture_usage.images, alice.picture_usage.bytes) == (1, size_of(storage))
    assert len(files(storage)) >= 3
    with django_capture_on_commit_callbacks(execute=True):
        assert pictures.sweep_crops(-60) == 2
    alice.picture_usage.refresh_from_db()
    assert alice.picture_usage.bytes == size_of(storage) > len(content)
    with django_capture_on_commit_callbacks(execute=True):
        pictures.erase(image)
    alice.picture_usage.refresh_from_db()
    assert (alice.picture_usage.images, alice.picture_usage.bytes, size_of(storage)) == (0, 0, 0)


@pytest.mark.django_db
def test_a_crop_for_which_there_is_no_room_is_refused_and_leaves_no_file(alice: Tenant, storage: Path) -> None:
    image = store(alice, samples.png(60, 60))
    before, alice.most_image_bytes = files(storage), size_of(storage)
    with pytest.raises(pictures.TooManyImages, match="what is made of them for providers"):
        cut(image)
    assert files(storage) == before


@pytest.mark.django_db
def test_bytes_are_bounded_and_free_again_after_an_erasure(
    alice: Tenant, django_capture_on_commit_callbacks: DjangoCaptureOnCommitCallbacks
) -> None:
    first, second = samples.jpeg(50, 50), samples.jpeg(60, 60)
    image = store(alice, first)
    alice.most_image_bytes = alice.picture_usage.bytes * 3 // 2
    with pytest.raises(pictures.TooManyImages, match=f"may have {alice.most_image_bytes:,} bytes together"):
        store(alice, second)
    assert store(alice, first) == image, "it is stored already"
    pictures.erase(image)
    alice.picture_usage.refresh_from_db()
    assert (alice.picture_usage.images, alice.picture_usage.bytes) == (0, 0)
    assert accepts(lambda: store(alice, second))


@pytest.mark.django_db
def test_a_picture_that_may_not_be_stored_leaves_no_search(alice: Tenant, storage: Path) -> None:
    alices = asker(alice)
    alices.key.tenant.most_images = 0
    with pytest.raises(pictures.TooManyImages, match="You may store 0 pictures"):
        alices.ask()
    assert not Search.objects.exists()
    assert files(storage) == set()
    assert audit.differences() == []


@pytest.mark.django_db
def test_an_erased_search_frees_the_room_of_its_picture(alice: Tenant) -> None:
    alices = asker(alice)
    alices.key.tenant.most_images = 1
    search = alices.ask()
    assert not accepts(lambda: alices.ask(samples.jpeg(90, 90)))
    erasure.erase(search)
    assert PictureUsage.objects.get().images == 0
    assert accepts(lambda: alices.ask(samples.jpeg(90, 90)))


def waiting(tenant: Tenant) -> int:
    return Lookup.objects.for_tenant(tenant).exclude(queue_state=QueueState.NONE).count()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("max_age", [0, 60])
def test_fifty_searches_at_once_never_exceed_the_bound_of_waiting_lookups(alice: Tenant, max_age: int) -> None:
    """Counts leaders and followers alike."""
    alices = asker(alice)
    alices.key.tenant.most_waiting_lookups = 7
    came = at_once([partial(accepts, partial(alices.ask, max_age=max_age))] * 50)
    assert (came.count(True), waiting(alice), Search.objects.count()) == (7, 7, 7)
    assert audit.differences() == []


@pytest.mark.django_db
def test_blocked_lookups_count_too_and_ended_ones_do_not(alice: Tenant, bob: Tenant) -> None:
    alices = asker(alice)
    alices.key.tenant.most_waiting_lookups = 2
    first = alices.ask(max_age=0)
    states.mark(Credential.objects.get(), Credential.State.INVALID)
    alices.ask(max_age=0)
    assert set(Lookup.objects.values_list("queue_state", flat=True)) == {"ready", "blocked"}
    assert not accepts(lambda: alices.ask(max_age=0))
    cancellation.cancel(first)
    assert accepts(lambda: alices.ask(max_age=0))


@pytest.mark.django_db
def test_a_search_without_waiting_lookups_is_accepted_at_the_bound(alice: Tenant) -> None:
    alices = asker(alice)
    alices.ask()
    answered()
    alices.key.tenant.most_waiting_lookups = 0
    assert accepts(lambda: alices.ask(max_age=60))
    assert not accepts(lambda: alices.ask(max_age=0))


@pytest.mark.django_db
def test_a_search_of_more_lookups_than_may_wait_is_refused_whole(alice: Tenant) -> None:
    alices: Asker = asker(alice)
    alices.key.tenant.most_waiting_lookups = 3
    assert not accepts(lambda: alices.ask(count=4, max_age=0))
    assert not Lookup.objects.exists()
    assert accepts(lambda: alices.ask(count=3, max_age=0))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("mode", Mode)
def test_fifty_searches_at_once_fill_the_bound_of_stored_ones_exactly(alice: Tenant, mode: Mode) -> None:
    alices = asker(alice, mode)
    alices.key.tenant.most_searches = 7
    came = at_once([partial(accepts, partial(alices.ask, max_age=0))] * 50)
    assert (came.count(True), Search.objects.count(), alice.search_usage.searches) == (7, 7, 7)
    assert audit.differences() == []


@pytest.mark.django_db(transaction=True)
def test_ended_searches_are_stored_until_they_are_erased_and_one_erased_twice_frees_one_place(alice: Tenant) -> None:
    alices = asker(alice)
    alices.key.tenant.most_searches = 2
    first, second = alices.ask(max_age=0), alices.ask(max_age=0)
    cancellation.cancel(second)
    with pytest.raises(stored_searches.TooManySearches, match="You may store 2 searches; delete some"):
        alices.ask(max_age=0)
    at_once([partial(erasure.erase, first)] * 8)
    assert SearchUsage.objects.get().searches == 1
    assert [accepts(lambda: alices.ask(max_age=0)) for _ in range(2)] == [True, False]


@pytest.mark.django_db(transaction=True)
def test_fifty_api_keys_at_once_fill_the_bound_exactly(alice: Tenant) -> None:
    Tenant.objects.update(most_api_keys=7)
    came = at_once([partial(accepts, partial(keys.issue, alice, Mode.TEST))] * 50)
    assert (came.count(True), ApiKey.objects.count()) == (7, 7)
    one = ApiKey.objects.all()[0]
    keys.revoke(one)
    assert accepts(lambda: keys.issue(alice, Mode.LIVE))
