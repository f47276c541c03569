"""GIF, BMP, HEIC and AVIF: which files are taken, which are refused, and the format in which they are stored."""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from contextlib import suppress
from typing import cast

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from searches.pictures import BadPicture, isolation, reading
from tests.searches import samples
from tests.searches.pictures.test_reading import PRIVATE, difference, kept, refusal


def gif() -> bytes:
    return samples.written(samples.picture(), "GIF")


def bmp() -> bytes:
    return samples.written(samples.picture(), "BMP")


def avif() -> bytes:
    return samples.written(samples.picture(), "AVIF")


NEW = {"GIF": gif, "BMP": bmp, "HEIC": samples.heic, "AVIF": avif}
ALL = {**NEW, "JPEG": samples.jpeg, "PNG": samples.png, "WEBP": samples.webp}


@pytest.mark.parametrize(("format", "stored_as"), [("GIF", "PNG"), ("BMP", "PNG"), ("HEIC", "JPEG"), ("AVIF", "JPEG")])
def test_each_is_kept_as_what_browsers_and_providers_take(format: str, stored_as: str) -> None:
    found, pixels, file = kept(NEW[format]())
    assert (found, pixels.mode, pixels.size) == (format, "RGB", (64, 48))
    assert samples.read(file).format == stored_as
    assert difference(samples.read(file), samples.picture()) < 10


@pytest.mark.parametrize("format", ["GIF", "BMP"])
def test_what_lost_nothing_loses_nothing_by_being_kept(format: str) -> None:
    content = NEW[format]()
    _, _, file = kept(content)
    assert samples.read(file).convert("RGB").tobytes() == samples.read(content).convert("RGB").tobytes()


@pytest.mark.parametrize(
    "content",
    [
        samples.heic_of(samples.half_clear()),
        samples.written(samples.half_clear(), "AVIF"),
        samples.written(samples.picture().quantize(8), "GIF", transparency=0),
    ],
    ids=["heic", "avif", "gif"],
)
def test_what_is_clear_stays_clear(content: bytes) -> None:
    _, pixels, file = kept(content)
    assert pixels.mode == samples.read(file).convert("RGBA").mode == "RGBA"
    assert samples.read(file).format in {"WEBP", "PNG"}


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["HEIC", "AVIF"])
def test_a_turned_one_is_kept_upright(format: str, orientation: int) -> None:
    inverse = {6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}
    turn = inverse.get(orientation, reading.UPRIGHT.get(orientation))
    turned = samples.picture() if turn is None else samples.picture().transpose(turn)
    tags = samples.exif(orientation)
    content = samples.heic_of(turned, exif=tags) if format == "HEIC" else samples.written(turned, "AVIF", exif=tags)
    _, pixels, _ = kept(content)
    assert pixels.size == (64, 48)
    assert difference(pixels, samples.picture()) < 10


@pytest.mark.parametrize(
    "content",
    [
        samples.heic_of(samples.picture(), exif=samples.exif(), xmp=b"<x>Alice Secretname</x>"),
        samples.written(samples.picture(), "AVIF", exif=samples.exif(), xmp=b"<x>Alice Secretname</x>"),
        samples.written(samples.picture(), "GIF", comment=b"Alice Secretname"),
        bmp() + b"Alice Secretname",
    ],
    ids=["heic", "avif", "gif", "bmp"],
)
def test_nothing_but_pixels_is_kept(content: bytes) -> None:
    assert b"Secretname" in content
    _, _, file = kept(content)
    assert not [word for word in PRIVATE if word in file]


def test_colours_are_read_as_their_profile_means_them() -> None:
    red, profile = Image.new("RGB", (64, 64), "red"), samples.swapped_profile()
    for content in (samples.heic_of(red, icc_profile=profile), samples.written(red, "AVIF", icc_profile=profile)):
        _, pixels, _ = kept(content)
        red_part, green_part, _ = cast("tuple[int, int, int]", pixels.getpixel((30, 30)))
        assert (red_part < 20, green_part > 230) == (True, True)


@pytest.mark.parametrize(
    "content",
    [
        samples.animated("GIF"),
        samples.animated("PNG"),
        samples.animated("WEBP"),
        samples.animated("AVIF"),
        samples.sequence_of_heic(),
    ],
    ids=["gif", "png", "webp", "avif", "heic"],
)
def test_of_an_animation_the_first_frame_is_kept(content: bytes) -> None:
    _, pixels, file = kept(content)
    red, green, blue = cast("tuple[int, int, int]", pixels.convert("RGB").getpixel((4, 4)))
    assert (red > 230, green < 30, blue < 30) == (True, True, True)
    assert getattr(samples.read(file), "n_frames", 1) == 1


def test_frames_that_are_not_used_cost_nothing() -> None:
    film = samples.gif_of(samples.gif_frame(), samples.gif_frame(2, 2) * 5_000)
    began = time.perf_counter()
    assert kept(film)[1].size == (8, 8)
    assert time.perf_counter() - began < 1


def bmp_by_masks(depth: int, masks: tuple[int, ...], word: int, *, length: int = 40, packing: int = 3) -> bytes:
    """Returns a BMP of 3 × 2 pixels, all 0 except the last pixel of its upper row."""
    row = bytes(2 * depth // 8) + word.to_bytes(depth // 8, "little")
    rows = b"".join(each + bytes(-len(each) % 4) for each in (bytes(len(row)), row))
    header = struct.pack("<IiiHHIIiiII", length, 3, 2, 1, depth, packing, len(rows), 0, 0, 0, 0)
    header = (header + struct.pack(f"<{len(masks)}I", *masks)).ljust(length, b"\0")
    start = 14 + len(header)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + rows


@pytest.mark.parametrize(
    ("content", "pixel"),
    [
        (bmp_by_masks(32, (0x3FF00000, 0xFFC00, 0x3FF), 1023 << 20 | 512 << 10 | 256), (255, 128, 64)),
        (bmp_by_masks(32, (0x3FF, 0xFFC00, 0x3FF00000, 0xC0000000), 1 << 31 | 1023, length=56), (255, 0, 0, 170)),
        (bmp_by_masks(32, (0xFFE00000, 0x1FFC00, 0x3FF), 0xFFE00000), (255, 0, 0)),
        (bmp_by_masks(32, (0xFF, 0xFF00, 0xFF0000), 0x332211, length=52), (0x11, 0x22, 0x33)),
        (bmp_by_masks(16, (0xF00, 0xF0, 0xF), 0xF81), (255, 136, 17)),
        (bmp_by_masks(16, (0xF00, 0xF0, 0xF, 0xF000), 0x5F81, packing=6), (255, 136, 17, 85)),
        (bmp_by_masks(16, (0xFF, 0xFF00, 0), 0x80FF, length=124), (255, 128, 0)),
        (bmp_by_masks(16, (0xE000, 0x1C00, 0x1), 0x2001, length=108), (36, 0, 255)),
    ],
)
def test_a_bmp_may_tell_any_masks(content: bytes, pixel: tuple[int, ...]) -> None:
    _, pixels, _ = kept(content)
    assert (pixels.size, pixels.getpixel((2, 0))) == ((3, 2), pixel)
    assert pixels.convert("RGB").getpixel((1, 0)) == pixels.convert("RGB").getpixel((2, 1)) == (0, 0, 0)
    isolation.check(content)


@pytest.mark.parametrize(("height", "top"), [(2, 1), (-2, 0)])
def test_a_bmp_may_have_two_bits_a_pixel(height: int, top: int) -> None:
    content = bytearray(samples.bmp_of(5, height, rows=b"\x1b\x40\0\0" + bytes(4), depth=2))
    content[54:70] = b"\1\2\3\0\4\5\6\0\7\x08\x09\0\x0a\x0b\x0c\0"
    _, pixels, _ = kept(bytes(content))
    found = [pixels.getpixel((x, top)) for x in range(5)]
    assert found == [(3, 2, 1), (6, 5, 4), (9, 8, 7), (12, 11, 10), (6, 5, 4)]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (samples.gif_of(samples.gif_frame(), size=(60_000, 60_000)), "too_many_pixels"),
        (samples.gif_of(samples.gif_frame(60_000, 60_000, pixels=9)), "too_many_pixels"),
        (samples.gif_of(samples.gif_frame(60_000, 800, x=5_600, pixels=9)), "too_many_pixels"),
        (samples.gif_of(samples.gif_frame(1, 1) * 1_000_000), "unreadable"),
        (samples.gif_of(b"!\xfe\0" * 1_000_000, samples.gif_frame()), "unreadable"),
        (samples.gif_of(), "unreadable"),
        (samples.gif_of(b"?"), "unreadable"),
        (samples.bmp_of(60_000, 60_000, rows=b""), "too_many_pixels"),
        (samples.bmp_of(2**31 - 1, -(2**31), rows=b""), "too_many_pixels"),
        (samples.bmp_of(-5, 5, rows=bytes(100)), "unreadable"),
        (samples.bmp_of(8, 0, rows=bytes(100)), "unreadable"),
        (samples.bmp_of(8, 8, rows=bytes(40)), "truncated"),
        (samples.bmp_of(60_000, 60_000, rows=b"\0\1", depth=8, packing=1), "too_many_pixels"),
        (samples.bmp_of(8, 8, rows=samples.jpeg(8, 8), depth=24, packing=4), "format_not_taken"),
        (samples.bmp_of(8, 8, rows=bytes(512), depth=64), "format_not_taken"),
        (bmp_by_masks(16, (0, 0, 0), 0), "format_not_taken"),
        (bmp_by_masks(32, (0b101, 0xFF00, 0xFF0000), 0), "format_not_taken"),
        (bmp_by_masks(32, (0x3FF00000, 0xFFC00, 0x3FF), 0)[:-1], "truncated"),
        (samples.with_ispe(samples.heic(), 60_000, 60_000), "unreadable"),
        (samples.with_ispe(samples.heic(), 7_000, 7_000), "unreadable"),
        (samples.with_ispe(avif(), 60_000, 60_000), "unreadable"),
        (samples.with_ispe(avif(), 16_000, 16_000), "too_many_pixels"),
        (b"\x00\x00\x00\x18ftypheic" + bytes(100), "unreadable"),
        (b"\x00\x00\x00\x14ftypavifavifmif1" + b"\x00\x00\x00\x08free" * 100_000, "unreadable"),
        (b"\x00\x00\x00\x18ftypisomisommp42" + bytes(100), "not_a_picture"),
    ],
)
def test_bombs_and_broken_ones_are_refused(content: bytes, code: str) -> None:
    assert refusal(content).code == code


def test_a_size_hidden_in_the_stream_is_read_within_the_limit_of_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests 36 megapixels behind a header that says less than 1, with the memory for a small picture."""
    hidden = samples.with_ispe(samples.written(Image.new("RGB", (6_000, 6_000)), "AVIF", speed=10), 900, 900)
    monkeypatch.setattr(isolation, "SMALL", isolation.Bound(seconds=5, memory_bytes=50_000_000))
    with pytest.raises(BadPicture) as refused:
        isolation.check(hidden)
    assert refused.value.code == "unreadable"
    isolation.check(avif())


def test_a_picture_that_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(isolation, "LARGE", isolation.Bound(seconds=1, memory_bytes=isolation.LARGE.memory_bytes))
    # These 40 bytes take about 3 s of processor time.
    slow = samples.written(Image.new("RGBA", (8_160, 6_000), (1, 2, 3, 77)), "WEBP", lossless=True, quality=0, method=0)
    with pytest.raises(BadPicture, match="too long") as refused:
        isolation.check(slow)
    assert refused.value.code == "too_costly"


def test_a_packed_bmp_is_bounded_by_what_reading_it_costs() -> None:
    began = time.perf_counter()
    refused = refusal(samples.bmp_run_bomb())
    assert (refused.code, "packed BMP has at most 4 megapixels" in refused.detail) == ("too_many_pixels", True)
    assert time.perf_counter() - began < 0.5
    assert kept(samples.bmp_of(8, 2, rows=b"\x08\1\0\0\x08\2\0\1", depth=8, packing=1))[1].size == (8, 2)


@pytest.mark.parametrize("format", NEW)
def test_a_file_cut_anywhere_is_refused(format: str) -> None:
    whole = NEW[format]()
    for length in range(1, len(whole), max(7, len(whole) // 40)):
        assert refusal(whole[:length]).code in {"truncated", "unreadable", "not_a_picture"}
    assert refusal(whole[: len(whole) * 3 // 4]).code == "truncated"
    assert refusal(whole[:-1]).code == "truncated"


@pytest.mark.parametrize("format", ALL)
@pytest.mark.parametrize(
    ("tail", "word"),
    [
        (samples.zip_file(), "ZIP archive"),
        (b"<html><body>Hello</body></html>", "web page"),
        (b"\n<?php echo 1 ?>", "web page"),
        (b"\n<script >alert(1)</script>", "web page"),
    ],
    ids=["zip", "html", "php", "script"],
)
def test_a_picture_that_is_something_else_too_is_refused(format: str, tail: bytes, word: str) -> None:
    refused = refusal(ALL[format]() + tail)
    assert (refused.code, word in refused.detail) == ("polyglot", True)


def test_so_is_one_with_another_file_inside() -> None:
    inside_a_comment = samples.jpeg(comment=b"%PDF-1.7 and so on")
    inside_a_chunk = samples.png_with(samples.chunk(b"zIPs", samples.zip_file()))
    assert refusal(inside_a_comment).code == "polyglot"
    assert refusal(inside_a_chunk).code == "polyglot"


def test_a_page_between_the_last_pixel_and_the_end_of_a_jpeg_is_not_kept() -> None:
    whole = samples.jpeg()
    _, pixels, file = kept(whole[:-2] + b"<script >alert(1)</script>" + whole[-2:])
    assert (pixels.size, b"alert" in file) == ((64, 48), False)


def test_four_bytes_of_chance_make_no_archive() -> None:
    _, pixels, _ = kept(samples.jpeg(comment=b"PK\x05\x06" + bytes(40)))
    assert pixels.size == (64, 48)


def test_of_a_disguise_in_the_numbers_nothing_is_kept() -> None:
    """Tests a width of 10,799, whose bytes make `GIF89a/*`, the start of a comment in JavaScript."""
    disguised = samples.gif_of(samples.gif_frame(), b"!\xfe\x0e*/=1;alert(1);\0", size=(0x2A2F, 1))
    assert disguised.startswith(b"GIF89a/*")
    _, pixels, file = kept(disguised)
    assert (pixels.size, b"alert" in file) == ((0x2A2F, 8), False)


MADE: list[Callable[[], bytes]] = [gif, lambda: samples.animated("GIF"), lambda: samples.gif_of(samples.gif_frame())]


@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.sampled_from([make() for make in MADE]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4)), max_size=5),
)
def test_no_mutated_gif_raises_anything_but_bad_picture(whole: bytes, changes: list[tuple[float, bytes]]) -> None:
    taken_or_refused(whole, changes)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(
    st.sampled_from([samples.heic(24, 16), samples.written(samples.picture(24, 16), "AVIF"), bmp()]),
    st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4)), min_size=1, max_size=5),
)
def test_nor_does_any_that_is_read_apart(whole: bytes, changes: list[tuple[float, bytes]]) -> None:
    taken_or_refused(whole, changes)


def taken_or_refused(whole: bytes, changes: list[tuple[float, bytes]]) -> None:
    content = bytearray(whole)
    for place, change in changes:
        at = int(place * len(content))
        content[at : at + len(change)] = change
    with suppress(BadPicture):
        _, pixels, file = kept(bytes(content))
        assert samples.read(file).size == pixels.size
