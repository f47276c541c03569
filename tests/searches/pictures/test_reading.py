"""Pictures that are taken and refused, and the file that is stored of each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from pytest_django import Settings

from searches.pictures import BadPicture, TooLarge, fitting, isolation, reading, strips
from searches.pictures.containers import judge
from searches.pictures.exchange import Limits
from tests.searches import samples

WEB = Limits(formats=("JPEG", "PNG", "WEBP"), max_bytes=3_750_000)
MOST_PIXELS = 50_000_000
PRIVATE = (b"Secretname", b"GPS", b"Exif", b"eXIf", b"EXIF", b"ICC", b"XMP")


def kept(content: bytes) -> tuple[str, Image.Image, bytes]:
    """Returns the format, the pixels and the file that would be stored."""
    format, decoded = read_here(content)
    return format, decoded.pixels, decoded.rewritten()


def read_here(content: bytes) -> tuple[str, reading.Decoded]:
    """Reads a picture with the code that runs in a process of its own."""
    isolation.check_size(content)
    format = judge(content, most_pixels=MOST_PIXELS).format
    return format, reading.decoded(format, content, most_pixels=MOST_PIXELS)


def refusal(content: bytes) -> BadPicture:
    with pytest.raises(BadPicture) as refused:
        kept(content)
    assert refused.value.__cause__ is None
    return refused.value


@pytest.mark.parametrize(
    ("content", "code", "word"),
    [
        (b"", "empty", "empty"),
        (samples.TEXT, "not_a_picture", "no picture"),
        (b"\x00", "not_a_picture", "no picture"),
        (b"PK\x03\x04" + bytes(100), "not_a_picture", "no picture"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "not_a_picture", "no picture"),
        (samples.written(samples.picture(), "TIFF"), "format_not_taken", "TIFF"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "format_not_taken", "SVG"),
        (samples.png_bomb(), "too_many_pixels", "50 megapixels"),
        (samples.png_bomb(8000, 7000), "too_many_pixels", "50 megapixels"),
        (samples.png_bomb(12_000, 12_000), "too_many_pixels", "50 megapixels"),
        (samples.webp_canvas(16_384, 8), "unreadable", "damaged"),
        (samples.webp_canvas(16_383, 16_383), "too_many_pixels", "50 megapixels"),
        (samples.png_bomb(65_501, 1), "too_many_pixels", "A side"),
        (samples.webp_canvas(5_000_000, 8), "too_many_pixels", "A side"),
        (samples.chunk_flood(), "unreadable", "too many pieces"),
        (samples.jpeg_of_many_scans(200), "unreadable", "too many pieces"),
        (b"\xff\xd8\xff" + b"\xff" * 100_000 + samples.jpeg()[2:], "unreadable", "damaged"),
        (b"\xff\xd8\xff\xd9", "unreadable", "damaged"),
        (b"RIFF\x04\x00\x00\x00WEBP", "unreadable", "damaged"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_good_picture_is_refused_with_its_reason(content: bytes, code: str, word: str) -> None:
    refused = refusal(content)
    assert refused.code == code
    assert word in refused.detail


@pytest.mark.parametrize("make", [samples.jpeg, samples.png, samples.webp])
def test_a_file_cut_anywhere_is_refused(make: Callable[[], bytes]) -> None:
    whole = make()
    # A JPEG that lacks its end marker alone, or a last byte of filling, is whole.
    last = len(whole) - (8 if make is samples.jpeg else 0)
    for length in (*range(1, last, 7), last - 1):
        assert refusal(whole[:length]).code in {"truncated", "unreadable", "not_a_picture"}
    assert refusal(whole[: len(whole) // 2]).code == "truncated"
    assert refusal(whole[: last - 1]).code == "truncated"


def test_a_damaged_piece_of_a_png_is_noticed() -> None:
    whole = bytearray(samples.png())
    whole[whole.index(b"IDAT") + 40] ^= 1
    assert refusal(bytes(whole)).code == "unreadable"


def test_more_bytes_than_allowed_are_too_large_before_anything_is_read(settings: Settings) -> None:
    settings.PICTURE_MAX_BYTES = 1000
    refused = refusal(bytes(1001))
    assert isinstance(refused, TooLarge)
    assert refused.code == "too_large"
    assert "1,001 bytes; send at most 1,000" in refused.detail


def test_a_bomb_is_refused_before_a_pixel_is_decoded() -> None:
    with patch("PIL.ImageFile.ImageFile.load", side_effect=AssertionError("decoded")):
        assert refusal(samples.png_bomb()).code == "too_many_pixels"


@pytest.mark.parametrize(
    ("content", "format"), [(samples.jpeg(), "JPEG"), (samples.png(), "PNG"), (samples.webp(), "WEBP")]
)
def test_a_good_picture_stays_what_it_is(content: bytes, format: str) -> None:
    found, pixels, file = kept(content)
    assert (found, pixels.mode, pixels.size) == (format, "RGB", (64, 48))
    assert samples.read(file).format == format
    assert difference(samples.read(file), samples.picture()) < 6


def difference(one: Image.Image, other: Image.Image) -> float:
    """Returns the mean difference of all values, of 255."""
    pairs = zip(one.convert("RGB").tobytes(), other.convert("RGB").tobytes(), strict=True)
    return sum(abs(a - b) for a, b in pairs) / (one.width * one.height * 3)


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_turned_picture_is_stored_upright(format: str, orientation: int) -> None:
    inverse = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    turn = inverse.get(orientation, reading.UPRIGHT.get(orientation))
    turned = samples.picture() if turn is None else samples.picture().transpose(turn)
    _, pixels, file = kept(samples.written(turned, format, exif=samples.exif(orientation)))
    assert pixels.size == (64, 48)
    assert difference(pixels, samples.picture()) < 6
    assert difference(samples.read(file), samples.picture()) < 6


@pytest.mark.parametrize(
    "content",
    [
        samples.jpeg(exif=samples.exif(6), icc_profile=samples.swapped_profile(), comment=b"Alice Secretname"),
        samples.jpeg(exif=samples.exif(), xmp=b"<x>Alice Secretname</x>"),
        samples.png_with_words(),
        samples.png(icc_profile=samples.swapped_profile()),
        samples.webp(exif=samples.exif(), xmp=b"<x>Alice Secretname</x>", icc_profile=samples.swapped_profile()),
        samples.two_in_one_jpeg(),
    ],
    ids=["jpeg", "jpeg-xmp", "png", "png-icc", "webp", "two-in-one"],
)
def test_nothing_but_pixels_is_stored(content: bytes) -> None:
    _, _, file = kept(content)
    assert not [word for word in PRIVATE if word in file]
    assert set(samples.read(file).info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"} | {
        "loop",
        "background",
        "timestamp",
        "duration",
    }


@pytest.mark.parametrize("make", [samples.jpeg, samples.png, samples.webp])
def test_what_phones_append_to_a_picture_does_not_survive(make: Callable[[], bytes]) -> None:
    film = b"\0\0\0\x18ftypmp42" + b"payload" * 1000
    _, pixels, file = kept(make() + film)
    assert pixels.size == (64, 48)
    assert b"payload" not in file


def tables_of(jpeg: bytes) -> object:
    picture = samples.read(jpeg)
    assert isinstance(picture, JpegImageFile)
    return picture.quantization


def test_a_jpeg_keeps_its_tables_so_that_it_loses_next_to_nothing() -> None:
    for quality in (30, 75, 95):
        sent = samples.jpeg(320, 200, quality=quality)
        _, pixels, file = kept(sent)
        assert tables_of(file) == tables_of(sent)
        assert difference(samples.read(file), pixels) < 1
        assert abs(len(file) - len(sent)) < len(sent) / 20


@pytest.mark.parametrize(
    ("content", "mode"),
    [
        (samples.written(samples.picture(mode="CMYK"), "JPEG"), "RGB"),
        (samples.written(samples.picture(mode="L"), "JPEG"), "RGB"),
        (samples.jpeg(progressive=True), "RGB"),
        (samples.two_in_one_jpeg(), "RGB"),
        (samples.png(mode="L"), "RGB"),
        (samples.png(mode="1"), "RGB"),
        (samples.png(mode="LA"), "RGBA"),
        (samples.png(mode="RGBA"), "RGBA"),
        (samples.png(mode="P"), "RGB"),
        (samples.palette_with_transparency(), "RGBA"),
        (samples.grey_16_bit(), "RGB"),
        (samples.webp(lossless=True), "RGB"),
        (samples.png(1, 1), "RGB"),
        (samples.jpeg(1, 1), "RGB"),
        (samples.webp(1, 1), "RGB"),
        (samples.jpeg(4000, 1), "RGB"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_kind_of_pixels_becomes_rgb_with_or_without_alpha(content: bytes, mode: str) -> None:
    sent = samples.read(content)
    _, pixels, file = kept(content)
    assert (pixels.mode, pixels.size) == (mode, sent.size)
    assert samples.read(file).size == sent.size


def test_sixteen_bit_grey_keeps_its_shades() -> None:
    _, pixels, _ = kept(samples.grey_16_bit())
    shades = [pixels.getpixel((x, 0)) for x in (0, 64, 128, 256)]
    assert shades == [(0, 0, 0), (64, 64, 64), (128, 128, 128), (255, 255, 255)]


def test_cmyk_keeps_its_colours() -> None:
    _, pixels, _ = kept(samples.written(samples.picture(mode="CMYK"), "JPEG", quality=95))
    assert difference(pixels, samples.picture()) < 6


@pytest.mark.parametrize("content", [samples.animated("PNG"), samples.animated("WEBP")], ids=["png", "webp"])
def test_of_an_animation_the_first_frame_is_taken(content: bytes) -> None:
    _, pixels, file = kept(content)
    assert pixels.convert("RGB").getpixel((4, 4)) == (255, 0, 0)
    assert getattr(samples.read(file), "n_frames", 1) == 1


def test_of_an_animation_with_a_picture_for_old_programs_the_first_frame_is_taken_too() -> None:
    _, pixels, _ = kept(samples.animated_png_with_another_default())
    assert pixels.convert("RGB").getpixel((4, 4)) == (0, 0, 255)


def test_colours_are_read_as_their_profile_means_them() -> None:
    red = samples.written(Image.new("RGB", (8, 8), "red"), "PNG", icc_profile=samples.swapped_profile())
    clear_red = samples.written(
        Image.new("RGBA", (8, 8), (255, 0, 0, 77)), "PNG", icc_profile=samples.swapped_profile()
    )
    _, pixels, _ = kept(red)
    _, clear, _ = kept(clear_red)
    assert pixels.getpixel((4, 4)) == (0, 255, 0)
    assert clear.getpixel((4, 4)) == (0, 255, 0, 77)


@pytest.mark.parametrize("profile", [b"no profile", samples.swapped_profile()[:200], bytes(5_000_000)])
def test_a_profile_that_cannot_be_used_is_dropped(profile: bytes) -> None:
    _, pixels, _ = kept(samples.jpeg(icc_profile=profile))
    assert difference(pixels, samples.picture()) < 6


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_malformed_metadata_are_no_reason_to_refuse() -> None:
    for malformed in (b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0no tiff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff"):
        _, pixels, _ = kept(samples.jpeg(exif=malformed))
        assert pixels.size == (64, 48)


def test_equal_pixels_have_one_hash_whatever_the_file() -> None:
    def pixels_hash(content: bytes) -> str:
        return strips.pixels_sha256(kept(content)[1])

    plain, packed, lossless = samples.png(), samples.png(compress_level=9), samples.webp(lossless=True)
    assert pixels_hash(plain) == pixels_hash(packed) == pixels_hash(lossless)
    assert pixels_hash(plain) != pixels_hash(samples.png(48, 64))


def test_a_large_picture_has_the_hash_that_a_small_one_would(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = strips.pixels_sha256(samples.picture())
    monkeypatch.setattr(strips, "STRIP_PIXELS", 64 * 5)
    assert strips.pixels_sha256(samples.picture()) == whole


def fitted(pixels: Image.Image, format: str, max_bytes: int) -> tuple[str, bytes]:
    return fitting.fit(pixels, fitting.plan(Limits(formats=(format,), max_bytes=max_bytes)))


noisy = Image.effect_noise((600, 400), 120).convert("RGB")


@pytest.mark.parametrize("max_bytes", [400_000, 100_000, 20_000, 5_000])
@pytest.mark.parametrize("format", ["JPEG", "WEBP", "PNG"])
def test_a_rendering_fits_and_is_nearly_the_largest_that_does(format: str, max_bytes: int) -> None:
    found, content = fitted(noisy, format, max_bytes)
    written = samples.read(content)
    assert found == written.format == format
    assert len(content) <= max_bytes
    assert written.size == (600, 400) or len(content) > max_bytes * 0.6
    assert written.width / written.height == pytest.approx(1.5, rel=0.05)


def test_a_side_longer_than_a_format_can_hold_is_made_shorter() -> None:
    _, content = fitted(Image.new("RGB", (2, 65_500)), "WEBP", 10**6)
    assert samples.read(content).height == 16_383


def test_quality_gives_way_before_size() -> None:
    best = len(fitting.write(noisy, format="JPEG", quality=92))
    _, content = fitted(noisy, "JPEG", int(best * 0.8))
    assert samples.read(content).size == (600, 400)


def test_what_lies_under_transparency_is_white_in_a_jpeg() -> None:
    clear = Image.new("RGBA", (8, 8), (0, 0, 0, 0))
    _, content = fitted(clear, "JPEG", 10_000)
    assert samples.read(content).getpixel((4, 4)) == (255, 255, 255)


def test_a_limit_that_nothing_fits_is_an_error_and_no_endless_loop() -> None:
    with pytest.raises(ValueError, match="No picture fits"):
        fitted(samples.picture(), "JPEG", 10)


def taken_or_refused(content: bytes) -> None:
    with suppress(BadPicture):
        _, pixels, file = kept(content)
        fitting.fit(pixels, fitting.plan(WEB))
        assert samples.read(file).size == pixels.size


STARTS = [b"", b"\xff\xd8\xff", b"\xff\xd8\xff\xe0\x00\x10JFIF\0", b"\x89PNG\r\n\x1a\n", b"RIFF\x30\0\0\0WEBPVP8 "]
WHOLE = [
    samples.jpeg(24, 16),
    samples.jpeg(24, 16, progressive=True, exif=samples.exif(6), icc_profile=samples.swapped_profile()),
    samples.written(samples.picture(24, 16, "CMYK"), "JPEG"),
    samples.two_in_one_jpeg(),
    samples.png(24, 16),
    samples.png_with_words(),
    samples.palette_with_transparency(),
    samples.grey_16_bit(),
    samples.animated("PNG"),
    samples.webp(24, 16, exif=samples.exif(3), icc_profile=samples.swapped_profile()),
    samples.webp(24, 16, lossless=True),
    samples.animated("WEBP"),
]
# Pillow warns about some malformed metadata; in production the warning is logged.
hostile = pytest.mark.filterwarnings("ignore::UserWarning:PIL")


@hostile
@given(st.sampled_from(STARTS), st.binary(max_size=400))
def test_no_bytes_at_all_raise_anything_but_bad_picture(start: bytes, rest: bytes) -> None:
    taken_or_refused(start + rest)


@hostile
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.sampled_from(WHOLE),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4)), max_size=5),
    st.floats(0, 1),
)
def test_no_mutated_picture_raises_anything_but_bad_picture(
    whole: bytes, changes: list[tuple[float, bytes]], kept_part: float
) -> None:
    content = bytearray(whole)
    for place, change in changes:
        at = int(place * len(content))
        content[at : at + len(change)] = change
    taken_or_refused(bytes(content) if kept_part > 0.2 else bytes(content[: int(kept_part * 5 * len(content))]))


@hostile
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.sampled_from([file for file in WHOLE if file.startswith(b"\x89PNG")]), st.data())
def test_no_mutated_png_with_good_checksums_does_either(whole: bytes, data: st.DataObject) -> None:
    """Returns a PNG with changed bytes and correct checksums; with a wrong one Pillow would never read them."""
    content = bytearray(whole)
    at = 8
    while at < len(content):
        length = int.from_bytes(content[at : at + 4])
        if length and data.draw(st.booleans()):
            place = at + 8 + data.draw(st.integers(0, length - 1))
            content[place] = data.draw(st.integers(0, 255))
        piece = samples.chunk(bytes(content[at + 4 : at + 8]), bytes(content[at + 8 : at + 8 + length]))
        content[at : at + 12 + length] = piece
        at += 12 + length
    taken_or_refused(bytes(content))
