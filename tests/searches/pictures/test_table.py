"""A table of the files that are stored and sent for pictures of each format, size and oddity, by provider.

The test compares the table with `table.txt`; a run with `-s` prints it. Each rendering is opened and compared with its picture.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest
from django.core.files.storage import default_storage
from django.db import transaction
from PIL import Image as Pixels

from accounts.models import Tenant
from providers import registry
from providers.contract import PictureLimits
from searches import pictures
from searches.models import Image
from searches.pictures import BadPicture
from tests.searches import samples
from tests.searches.pictures.test_reading import difference

TABLE = Path(__file__).with_name("table.txt")
LIMITS = {adapter.provider: adapter.picture_limits for adapter in registry.ADAPTERS.values()}
PROVIDERS = ("modash", "keyapi", "memories")
LARGE = (8_160, 6_000)  # 49 megapixels


def plain(size: tuple[int, int] = LARGE, mode: str = "RGB") -> Pixels.Image:
    """Returns a picture of one colour, which is large and quick to write."""
    return Pixels.new(mode, size, "teal" if mode == "RGB" else 200)


def noise(width: int, height: int) -> Pixels.Image:
    """Returns a picture that no compression makes small."""
    return Pixels.effect_noise((width, height), 120).convert("RGB")


def turned(orientation: int) -> bytes:
    return samples.jpeg(exif=samples.exif(orientation))


SAMPLES: dict[str, Callable[[], bytes]] = {
    "JPEG": samples.jpeg,
    "JPEG, 1 × 1": lambda: samples.jpeg(1, 1),
    "JPEG, 65,500 × 1": lambda: samples.written(plain((65_500, 1)), "JPEG"),
    "JPEG, progressive": lambda: samples.jpeg(progressive=True),
    "JPEG, CMYK": lambda: samples.written(samples.picture(mode="CMYK"), "JPEG"),
    "JPEG, grey": lambda: samples.written(samples.picture(mode="L"), "JPEG"),
    "JPEG, with a colour profile": lambda: samples.jpeg(icc_profile=samples.swapped_profile()),
    **{f"JPEG, EXIF orientation {number}": partial(turned, number) for number in range(1, 9)},
    "JPEG, a second picture behind": samples.two_in_one_jpeg,
    "JPEG, 49 megapixels": lambda: samples.written(plain(), "JPEG"),
    "JPEG, noise of 5 megapixels": lambda: samples.written(noise(2_500, 2_000), "JPEG", quality=90),
    "JPEG, noise of 14 megapixels": lambda: samples.written(noise(4_000, 3_500), "JPEG", quality=90),
    "JPEG, cut short": lambda: samples.jpeg()[:-9],
    "JPEG with a ZIP behind": lambda: samples.jpeg() + samples.zip_file(),
    "PNG": samples.png,
    "PNG, 1 × 1": lambda: samples.png(1, 1),
    "PNG, 65,500 × 1": lambda: samples.written(plain((65_500, 1)), "PNG"),
    "PNG, 65,501 × 1": lambda: samples.png_bomb(65_501, 1),
    "PNG, 16 bits, grey": samples.grey_16_bit,
    "PNG, palette with transparency": samples.palette_with_transparency,
    "PNG, half clear": lambda: samples.written(samples.half_clear(), "PNG"),
    "PNG, animated": lambda: samples.animated("PNG"),
    "PNG, noise of 5 megapixels": lambda: samples.written(noise(2_500, 2_000), "PNG", compress_level=1),
    "PNG, 49 megapixels": lambda: samples.written(plain(mode="L"), "PNG"),
    "PNG, 51 megapixels": lambda: samples.png_bomb(8_500, 6_000),
    "PNG, 400 megapixels of one colour": samples.png_bomb,
    "PNG with a page behind": lambda: samples.png() + b"<html>",
    "WebP": samples.webp,
    "WebP, lossless": lambda: samples.webp(lossless=True),
    "WebP, half clear": lambda: samples.written(samples.half_clear(), "WEBP"),
    "WebP, 16,383 × 1": lambda: samples.written(plain((16_383, 1)), "WEBP"),
    "WebP, animated": lambda: samples.animated("WEBP"),
    "GIF": lambda: samples.written(samples.picture(), "GIF"),
    "GIF, 1 × 1": lambda: samples.written(plain((1, 1)), "GIF"),
    "GIF, with transparency": lambda: samples.written(samples.picture().quantize(8), "GIF", transparency=0),
    "GIF, animated": lambda: samples.animated("GIF"),
    "GIF, 49 megapixels": lambda: samples.written(plain(mode="L"), "GIF"),
    "GIF, a screen of 60,000 × 60,000": lambda: samples.gif_of(samples.gif_frame(), size=(60_000, 60_000)),
    "GIF, a million frames": lambda: samples.gif_of(samples.gif_frame(1, 1) * 1_000_000),
    "BMP": lambda: samples.written(samples.picture(), "BMP"),
    "BMP, 1 bit": lambda: samples.written(samples.picture(mode="1"), "BMP"),
    "BMP, 65,500 × 1": lambda: samples.written(plain((65_500, 1)), "BMP"),
    "BMP, packed, 49 megapixels": samples.bmp_run_bomb,
    "BMP, packed, 4 megapixels": lambda: samples.bmp_run_bomb(rows=60),
    "BMP, 60,000 × 60,000 and no rows": lambda: samples.bmp_of(60_000, 60_000, rows=b""),
    "HEIC": samples.heic,
    "HEIC, turned": lambda: samples.heic_of(samples.picture(), exif=samples.exif(6)),
    "HEIC, half clear": lambda: samples.heic_of(samples.half_clear()),
    "HEIC, a sequence": samples.sequence_of_heic,
    "HEIC, 49 megapixels": lambda: samples.heic_of(plain(), enc_params={"preset": "ultrafast"}),
    "HEIC, a header of 60,000 × 60,000": lambda: samples.with_ispe(samples.heic(), 60_000, 60_000),
    "AVIF": lambda: samples.written(samples.picture(), "AVIF"),
    "AVIF, half clear": lambda: samples.written(samples.half_clear(), "AVIF"),
    "AVIF, animated": lambda: samples.animated("AVIF"),
    "AVIF, 49 megapixels": lambda: samples.written(plain(), "AVIF", speed=10),
    "AVIF, a header of 16,000 × 16,000": lambda: samples.with_ispe(
        samples.written(samples.picture(), "AVIF"), 16_000, 16_000
    ),
    "TIFF": lambda: samples.written(samples.picture(), "TIFF"),
    "SVG": lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>',
    "Text": lambda: samples.TEXT,
    "Nothing": lambda: b"",
}


def row(name: str, kept: str, *sent: str) -> str:
    return f"{name:<34}  {kept:<24}  {'  '.join(f'{cell:<15}' for cell in sent)}".rstrip()


HEAD = [row("sent to us", "format, as what kept", *(f"to {provider}" for provider in PROVIDERS)), "-" * 109]


@pytest.fixture(scope="module")
def rows() -> Iterator[dict[str, str]]:
    """Collects the rows that the tests below find, and prints them in the order of the samples."""
    found: dict[str, str] = {}
    yield found
    print("", *HEAD, *(found[name] for name in SAMPLES if name in found), sep="\n")  # noqa: T201


def written_rows() -> dict[str, str]:
    return {line.split("  ")[0]: line for line in TABLE.read_text().splitlines()[len(HEAD) :]}


@pytest.mark.parametrize("name", SAMPLES)
def test_each_picture_ends_in_a_right_rendering_or_a_reason(alice: Tenant, rows: dict[str, str], name: str) -> None:
    content = SAMPLES[name]()
    rows[name] = row(name, *outcome(alice, content))
    assert rows[name] == written_rows().get(name)


def test_the_table_tells_of_nothing_else() -> None:
    assert TABLE.read_text().splitlines()[: len(HEAD)] == HEAD
    assert list(written_rows()) == list(SAMPLES)


def outcome(tenant: Tenant, content: bytes) -> list[str]:
    """Returns the format that is stored, and for each provider `as kept`, or the format and size that it gets."""
    try:
        with pictures.received(tenant, content, fit=LIMITS) as draft, transaction.atomic():
            image = draft.save()
    except BadPicture as refused:
        return [f"400 {refused.code}"]
    kept = look(image, image.file)
    return [about(image.format.upper(), kept), *(sent_to(provider, image, kept) for provider in PROVIDERS)]


def about(format: str, kept: Pixels.Image) -> str:
    as_what = "" if kept.format == format else f" as {kept.format}"
    return f"{format}{as_what} {kept.width}×{kept.height}"


def sent_to(provider: str, image: Image, kept: Pixels.Image) -> str:
    rendering = image.renderings.get(provider=provider)
    if rendering.file == image.file:
        check(kept, kept, rendering.bytes, LIMITS[provider])
        return "as kept"
    sent = look(image, rendering.file)
    check(sent, kept, rendering.bytes, LIMITS[provider])
    return f"{sent.format} {'smaller' if sent.size != kept.size else f'{sent.width}×{sent.height}'}"


def check(sent: Pixels.Image, kept: Pixels.Image, size: int, limits: PictureLimits) -> None:
    assert sent.format in limits.formats
    assert size <= limits.max_bytes
    assert sent.size == kept.size or size > limits.max_bytes * 0.6
    if sent is not kept:
        assert difference(small(sent), small(kept)) < 12


def look(image: Image, name: str) -> Pixels.Image:
    with default_storage.open(name) as file:
        return Pixels.open(BytesIO(file.read()))


def small(picture: Pixels.Image) -> Pixels.Image:
    """Clear parts on white, as they are sent."""
    shown = picture.copy()
    shown.draft("RGB", (64, 64))
    shown = shown.convert("RGBA").resize((32, 32), Pixels.Resampling.BOX)
    return Pixels.alpha_composite(Pixels.new("RGBA", shown.size, "white"), shown).convert("RGB")
