"""Renderings of crops are stored while an open lookup needs them, and are made anew for later searches."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.db import transaction

from accounts import keys
from accounts.models import Mode, Tenant
from providers import registry
from searches import pictures
from searches.lifecycle import cancellation
from searches.models import Image, Lookup, QueueState, Search, Status
from searches.orders import submission
from searches.orders.order import LookupOrder, Order
from searches.pictures import Busy
from tests.searches import samples
from tests.searches.pictures.test_crops import MIDDLE, ONLY_JPEG, WEB, keep
from tests.searches.pictures.test_storage import at_once, files

LEFT = "0,0,500000,1000000"


def submit(tenant: Tenant, crop: str) -> Search:
    fit = {"modash": registry.adapter("tiktok-creators").picture_limits}
    order = Order(lookups=[LookupOrder(source="tiktok-creators", parameters={})], crop=crop)
    with pictures.received(tenant, samples.png(), fit=fit, crop=crop) as picture:
        return submission.submit(keys.issue(tenant, Mode.TEST)[0], order, picture).search


def crops(image: Image) -> set[str]:
    return set(image.renderings.values_list("crop", flat=True))


def test_those_that_no_lookup_needs_are_erased_once_they_are_old(alice: Tenant, storage: Path) -> None:
    image = keep(alice, samples.png(), "", modash=WEB, keyapi=ONLY_JPEG)
    before = files(storage)
    for crop in (MIDDLE, LEFT):
        keep(alice, samples.png(), crop, modash=WEB, memories=WEB, keyapi=ONLY_JPEG)
    assert pictures.sweep_crops(60) == 0
    assert pictures.sweep_crops(-60) == 6
    assert crops(image) == {""}
    assert files(storage) == before
    keep(alice, samples.png(), MIDDLE, modash=WEB)
    assert samples.read(samples.rendering(image.pk, "modash", MIDDLE).content).size == (32, 24)


@pytest.mark.parametrize("status", [*Lookup.OPEN, *Lookup.ENDED])
def test_an_open_lookup_keeps_its_own(alice: Tenant, status: Status) -> None:
    search = submit(alice, "250003,250003,500000,500000")
    begun = Status.QUEUED if status == Status.QUEUED else Status.RUNNING
    search.lookups.update(status=begun, queue_state=QueueState.NONE)
    search.lookups.update(status=status)
    keep(alice, samples.png(), LEFT, modash=WEB)
    keep(alice, samples.png(), search.crop, keyapi=ONLY_JPEG)
    is_open = status in Lookup.OPEN
    assert pictures.sweep_crops(-60) == (2 if is_open else 3)
    assert crops(samples.image_of(search)) == ({MIDDLE} if is_open else set())


def test_a_search_that_has_ended_leaves_none(alice: Tenant) -> None:
    search = submit(alice, MIDDLE)
    cancellation.cancel(search)
    assert pictures.sweep_crops(-60) == 1
    again = submit(alice, MIDDLE)
    assert samples.read(samples.rendering(samples.image_of(again).pk, "modash", again.crop).content).size == (32, 24)


def test_a_crop_that_is_erased_before_a_search_can_name_it_has_to_be_sent_again(alice: Tenant) -> None:
    image = keep(alice, samples.png(), MIDDLE, modash=WEB)
    with pictures.known(image, fit={"modash": WEB}, crop=MIDDLE) as picture:
        pictures.sweep_crops(-60)
        picture.save()
        with pytest.raises(Busy, match="send the request again"), transaction.atomic():
            picture.hold()


@pytest.mark.django_db(transaction=True)
def test_one_that_a_search_is_about_to_name_stays(storage: Path) -> None:
    alice = Tenant.objects.create(name="Alice")
    image = keep(alice, samples.png(), MIDDLE, modash=WEB)

    def sweep(_: int) -> None:
        assert pictures.sweep_crops(-60) == 0

    with pictures.known(image, fit={"modash": WEB}, crop=MIDDLE) as picture, transaction.atomic():
        picture.save()
        picture.hold()
        at_once(sweep, 1)
    assert default_storage.exists(image.renderings.get().file)
