"""A crop selects the right pixels, and nothing else is sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.db import transaction
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image as Pixels

from accounts.models import Tenant
from providers.contract import PictureLimits
from searches import pictures
from searches.models import Image
from searches.pictures import BadCrop, Crop
from tests.searches import samples
from tests.searches.pictures.test_reading import difference
from tests.searches.pictures.test_storage import files

WEB = PictureLimits(formats=("JPEG", "PNG", "WEBP"), max_bytes=3_750_000)
ONLY_JPEG = PictureLimits(formats=("JPEG",), max_bytes=1_000_000)
MIDDLE = "250000,250000,500000,500000"


def of(x: float, y: float, width: float, height: float) -> Crop:
    return Crop.of({"x": x, "y": y, "width": width, "height": height})


def keep(tenant: Tenant, content: bytes, crop: str = MIDDLE, **fit: PictureLimits) -> Image:
    with pictures.received(tenant, content, fit=fit, crop=crop) as picture, transaction.atomic():
        return picture.save()


def sent(image: Image, provider: str, crop: str = MIDDLE) -> Pixels.Image:
    return samples.read(samples.rendering(image.pk, provider, crop).content)


@pytest.mark.parametrize(
    ("crop", "size", "box"),
    [
        (of(0.25, 0.25, 0.5, 0.5), (64, 48), (16, 12, 48, 36)),
        (of(0, 0, 1, 1), (64, 48), (0, 0, 64, 48)),
        (of(0.1, 0.2, 0.2, 0.1), (10, 10), (1, 2, 3, 3)),
        (of(1 / 3, 0, 2 / 3, 1), (3, 1), (1, 0, 3, 1)),
        (of(2 / 3, 0, 1 / 3, 1), (65_500, 1), (43_667, 0, 65_500, 1)),
        (of(0.5, 0.5, 0.5, 0.5), (2, 2), (1, 1, 2, 2)),
        (of(0.04, 0, 0.1, 1), (10, 1), (0, 0, 1, 1)),
    ],
)
def test_edges_are_rounded_to_the_nearest_pixel(
    crop: Crop, size: tuple[int, int], box: tuple[int, int, int, int]
) -> None:
    assert crop.box(size) == box


def test_less_than_a_pixel_is_refused() -> None:
    for crop in (of(0, 0, 0.01, 1), of(0, 0, 1, 0.01), of(0.9999999, 0, 0.5, 1)):
        with pytest.raises(BadCrop, match="less than one pixel of this picture of 64 × 48"):
            crop.box((64, 48))


fractions = st.floats(0, 1)


@given(fractions, fractions, fractions, fractions, st.integers(1, 65_500), st.integers(1, 65_500))
def test_a_box_never_leaves_the_picture_and_never_is_empty(
    x: float, y: float, width: float, height: float, across: int, down: int
) -> None:
    crop = of(x, y, width, height)
    assert Crop.parse(str(crop)) == crop
    try:
        left, top, right, bottom = crop.box((across, down))
    except BadCrop:
        return
    assert 0 <= left < right <= across
    assert 0 <= top < bottom <= down
    rounded = crop.in_pixels((across, down))
    assert rounded.box((across, down)) == (left, top, right, bottom)
    assert rounded.in_pixels((across, down)) == rounded


def test_equal_crops_are_equal_texts_and_the_whole_is_none() -> None:
    assert str(of(0.1, 0.2, 0.3, 0.4)) == str(of(0.1 + 1e-9, 0.2, 0.30000000004, 0.4)) == "100000,200000,300000,400000"
    assert str(of(0, 0, 1, 1)) == ""
    assert Crop.parse("").fractions() is None
    assert of(0.1, 0.2, 0.3, 0.4).fractions() == {"x": 0.1, "y": 0.2, "width": 0.3, "height": 0.4}


def test_the_part_alone_is_sent_and_the_whole_is_kept(alice: Tenant, storage: Path) -> None:
    image = keep(alice, samples.png(), modash=WEB, keyapi=ONLY_JPEG)
    part = samples.picture().crop((16, 12, 48, 36))
    assert (image.width, image.height) == (64, 48)
    assert sent(image, "modash").tobytes() == part.tobytes()
    assert (sent(image, "modash").format, sent(image, "keyapi").format) == ("PNG", "JPEG")
    assert difference(sent(image, "keyapi"), part) < 6
    assert len(files(storage)) == 3


def test_it_is_cut_from_the_upright_picture(alice: Tenant) -> None:
    turned = samples.picture().transpose(Pixels.Transpose.ROTATE_90)
    image = keep(alice, samples.written(turned, "PNG", exif=samples.exif(6)), modash=WEB)
    assert sent(image, "modash").tobytes() == samples.picture().crop((16, 12, 48, 36)).tobytes()


def test_each_crop_of_a_picture_has_its_own_rendering(alice: Tenant) -> None:
    image, left, right = keep(alice, samples.jpeg(), "", modash=WEB), "0,0,500000,1000000", "500000,0,500000,1000000"
    for crop in (left, right, left):
        assert keep(alice, samples.jpeg(), crop, modash=WEB) == image
    with pictures.known(image, fit={"modash": WEB}, crop=right) as picture, transaction.atomic():
        picture.save()
    assert image.renderings.count() == 3
    assert image.renderings.get(crop="").file == image.file
    assert sent(image, "modash", left).size == sent(image, "modash", right).size == (32, 48)
    assert difference(sent(image, "modash", left), sent(image, "modash", right)) > 50


def test_crops_of_the_same_pixels_are_one(alice: Tenant, storage: Path) -> None:
    image = keep(alice, samples.png(), MIDDLE, modash=WEB)
    before = files(storage)
    for shift in range(1, 6):
        with pictures.known(image, fit={"modash": WEB}, crop=f"25000{shift},25000{shift},500000,500000") as picture:
            picture.save()
        assert picture.crop == MIDDLE
    assert image.renderings.get().crop == MIDDLE
    assert files(storage) == before
    with pictures.known(image, fit={"modash": WEB}, crop="1,1,999998,999998") as picture:
        assert picture.crop == ""


@pytest.mark.parametrize("stored", [False, True])
def test_a_crop_of_nothing_leaves_nothing(alice: Tenant, storage: Path, stored: bool) -> None:
    if stored:
        keep(alice, samples.png(), "")
    before = files(storage)
    with pytest.raises(BadCrop) as refused:
        keep(alice, samples.png(), "0,0,1,1", modash=WEB)
    assert (refused.value.field, refused.value.code) == ("crop", "too_small")
    assert files(storage) == before
