"""A cut file is found by its data, even if an end was put behind the cut. Bytes behind a whole picture are dropped."""

from __future__ import annotations

import struct
import tracemalloc
import zlib
from collections.abc import Callable
from contextlib import suppress

import pytest
from PIL import Image, ImageChops

from searches.pictures import pixel_rows
from searches.pictures.exceptions import BadPicture
from searches.pictures.stripping import _riff, _riff_of
from tests.searches import samples
from tests.searches.pictures.test_reading import kept, refusal

END = b"\xff\xd9"
JPEGS: dict[str, Callable[[], bytes]] = {
    "baseline": samples.jpeg,
    "progressive": lambda: samples.jpeg(progressive=True),
    "restarts": lambda: samples.jpeg(restart_marker_blocks=2),
    "restarts by row": lambda: samples.jpeg(320, 200, restart_marker_rows=1),
    "restarts, progressive": lambda: samples.jpeg(restart_marker_blocks=3, progressive=True),
    "grey": lambda: samples.written(samples.picture(mode="L"), "JPEG"),
    "CMYK": lambda: samples.written(samples.picture(mode="CMYK"), "JPEG"),
    "large": lambda: samples.jpeg(1_200, 900),
    # The last row of squares has one row of pixels.
    "large and uneven": lambda: samples.jpeg(1_201, 897),
    "large with restarts": lambda: samples.jpeg(1_200, 900, restart_marker_rows=1),
    "large and progressive": lambda: samples.jpeg(1_200, 900, progressive=True),
}


def scan_start(whole: bytes) -> int:
    at = whole.index(b"\xff\xda")
    return at + 2 + int.from_bytes(whole[at + 2 : at + 4])


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_that_was_cut_and_given_an_end_is_refused(name: str) -> None:
    whole = JPEGS[name]()
    start = scan_start(whole)
    for length in range(start + 2, len(whole) - (8 if len(whole) < 4_000 else 200), max(1, (len(whole) - start) // 12)):
        # A cut in the middle of a marker would be another fault.
        assert refusal(whole[:length].rstrip(b"\xff") + END).code in {"truncated", "unreadable"}
    assert refusal(whole[: start + (len(whole) - start) // 2].rstrip(b"\xff") + END).code == "truncated"


@pytest.mark.parametrize("quality", [50, 85])
def test_a_large_jpeg_that_lacks_more_than_seven_bytes_of_its_last_square_is_refused(quality: int) -> None:
    noise = Image.effect_noise((1_600, 1_200), 60).convert("RGB")
    whole = samples.written(noise, "JPEG", quality=quality)
    for lacking in (8, 9, 12, 16, 30):
        assert refusal(whole[: -len(END) - lacking].rstrip(b"\xff") + END).code == "truncated"
    assert kept(whole)[1].size == (1_600, 1_200)


def pixels_if_taken(content: bytes) -> Image.Image | None:
    with suppress(BadPicture):
        return kept(content)[1]
    return None


@pytest.mark.parametrize("lacking", range(1, 8))
def test_a_large_jpeg_that_lacks_fewer_bytes_is_refused_or_differs_in_its_last_square_alone(lacking: int) -> None:
    whole = samples.written(Image.effect_noise((1_600, 1_200), 60).convert("RGB"), "JPEG", quality=50)
    cut = whole[: -len(END) - lacking].rstrip(b"\xff") + END
    pixels = pixels_if_taken(cut)
    differing = None if pixels is None else ImageChops.difference(pixels, kept(whole)[1]).getbbox()
    # A square has 16 pixels, and its colours are spread by one more.
    assert differing is None or (differing[0] >= 1_600 - 17 and differing[1] >= 1_200 - 17)


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("tail", [b"", END, bytes(500), b"a second picture", samples.jpeg()], ids=range(5))
def test_whatever_follows_a_whole_jpeg_is_dropped(name: str, tail: bytes) -> None:
    whole = JPEGS[name]()
    _, pixels, file = kept(whole + tail)
    assert pixels.size == samples.read(whole).size
    assert samples.read(file).size == pixels.size
    assert b"a second picture" not in file


@pytest.mark.parametrize("grey", [127, 128])
@pytest.mark.parametrize("size", [(64, 48), (900, 700)])
def test_a_whole_jpeg_that_ends_in_grey_is_taken(grey: int, size: tuple[int, int]) -> None:
    for mode, options in (("RGB", {}), ("L", {}), ("RGB", {"progressive": True}), ("RGB", {"subsampling": 0})):
        content = samples.written(Image.new("RGB", size, (grey,) * 3).convert(mode), "JPEG", **options)
        assert kept(content)[1].size == size


def test_bytes_before_the_end_of_a_whole_jpeg_are_no_fault() -> None:
    for make in JPEGS.values():
        whole = make()
        assert kept(whole[:-2] + bytes(300) + END)[1].size == samples.read(whole).size


@pytest.mark.parametrize("lossless", [True, False])
def test_a_webp_that_was_cut_and_whose_sizes_were_mended_is_refused(lossless: bool) -> None:
    whole = samples.webp(320, 200, lossless=lossless)
    for length in (len(whole) // 2, len(whole) * 3 // 4, len(whole) - 20):
        data = whole[20:length]
        data = data[: len(data) & ~1]
        body = b"WEBP" + whole[12:16] + len(data).to_bytes(4, "little") + data
        assert refusal(b"RIFF" + len(body).to_bytes(4, "little") + body).code in {"truncated", "unreadable"}


@pytest.mark.parametrize("name", JPEGS)
@pytest.mark.parametrize("left", [b"", b"\xff"])
def test_a_jpeg_with_whole_scans_and_no_end_marker_is_taken(name: str, left: bytes) -> None:
    whole = JPEGS[name]()
    format, pixels, file = kept(whole.removesuffix(END) + left)
    assert (format, samples.read(file).format) == ("JPEG", "JPEG")
    assert ImageChops.difference(pixels, kept(whole)[1]).getbbox() is None


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_that_is_cut_within_its_scans_and_has_no_end_is_truncated(name: str) -> None:
    whole = JPEGS[name]()
    start = scan_start(whole)
    for eighths in range(1, 8):
        assert refusal(whole[: start + (len(whole) - start) * eighths // 8]).code == "truncated"


def test_a_page_within_the_last_scan_of_a_jpeg_without_an_end_is_refused() -> None:
    assert refusal(samples.jpeg().removesuffix(END) + b"<script >alert(1)</script>").code == "polyglot"


PNGS: dict[str, tuple[int, int]] = {
    "grey, 1 bit": (1, 0),
    "palette": (8, 3),
    "RGB": (8, 2),
    "RGBA": (8, 6),
    "RGB, 16 bits": (16, 2),
    "grey and alpha": (8, 4),
}


def png_of(depth: int, colours: int, *, interlaced: bool, part: float = 1.0, ground: int = 0) -> bytes:
    """Returns a PNG of 13 × 9 pixels, whose stream has a correct end after this part of its bytes."""
    bits = depth * pixel_rows.CHANNELS[colours]
    each = pixel_rows.PASSES if interlaced else pixel_rows.WHOLE
    raw = b"".join(
        (b"\0" + bytes([ground]) * (-(-(13 - left) // across) * bits + 7 >> 3)) * -(-(9 - top) // down)
        for left, top, across, down in each
    )
    header = struct.pack(">IIBBBBB", 13, 9, depth, colours, 0, 0, interlaced)
    packed = zlib.compress(raw[: round(len(raw) * part)])
    halves = [packed[: len(packed) // 2], packed[len(packed) // 2 :]]
    palette = [samples.chunk(b"PLTE", bytes(768))] if colours == 3 else []
    pieces = [samples.chunk(b"IHDR", header), *palette, *(samples.chunk(b"IDAT", half) for half in halves)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(pieces) + samples.chunk(b"IEND", b"")


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("name", PNGS)
def test_a_png_whose_stream_ends_before_its_rows_do_is_truncated(name: str, interlaced: bool) -> None:
    for ground in (0, 255):
        assert kept(png_of(*PNGS[name], interlaced=interlaced, ground=ground))[1].size == (13, 9)
        for part in (0.0, 0.1, 0.5, 0.95):
            cut = png_of(*PNGS[name], interlaced=interlaced, ground=ground, part=part)
            assert refusal(cut).code == "truncated"


def test_a_first_frame_of_an_animated_png_is_counted_too() -> None:
    whole = samples.animated_png_with_another_default()
    assert kept(whole)[1].size == (8, 8)
    at = whole.index(b"fdAT") - 4
    end = at + 12 + int.from_bytes(whole[at : at + 4])
    half = zlib.compress(zlib.decompress(whole[at + 12 : end - 4])[:50])
    assert (
        refusal(whole[:at] + samples.chunk(b"fdAT", whole[at + 8 : at + 12] + half) + whole[end:]).code == "truncated"
    )


def test_rows_are_counted_no_further_than_the_header_promises() -> None:
    header = samples.chunk(b"IHDR", struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0))
    bomb = samples.chunk(b"IDAT", zlib.compress(bytes(80_000_000), 9)) + samples.chunk(b"IEND", b"")
    content = b"\x89PNG\r\n\x1a\n" + header + bomb
    tracemalloc.start()
    assert not pixel_rows.are_cut(content, Image.new("L", (8, 8)))
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


@pytest.mark.parametrize("pixels", [0, 1, 50, 99])
def test_a_gif_whose_codes_end_before_its_pixels_do_is_truncated(pixels: int) -> None:
    frame = samples.gif_frame(10, 10, pixels=pixels or -1)
    for interlaced in (frame, frame[:9] + b"\x40" + frame[10:]):
        assert refusal(samples.gif_of(interlaced, size=(10, 10))).code == "truncated"


@pytest.mark.parametrize("packed", [b"\0\1", b"\x40\1\0\0" * 3 + b"\0\1", b"\x40\1\0\0" * 7])
def test_a_packed_bmp_that_ends_before_its_rows_do_is_truncated(packed: bytes) -> None:
    assert refusal(samples.bmp_of(64, 8, rows=packed, depth=8, packing=1)).code == "truncated"


@pytest.mark.parametrize("kind", [b"VP8 ", b"ALPH", b"VP8L"])
def test_a_webp_one_of_whose_parts_ends_early_is_refused(kind: bytes) -> None:
    whole = samples.written(samples.half_clear().resize((320, 200)), "WEBP", lossless=kind == b"VP8L")
    pieces = list(_riff(whole, 12, len(whole)))
    for eighths in (1, 4, 7):
        cut = [(each, data[: len(data) * eighths // 8] if each == kind else data) for each, data in pieces]
        assert refusal(_riff_of(*cut)).code in {"truncated", "unreadable"}


def test_a_png_that_was_cut_and_given_an_end_is_refused() -> None:
    whole = samples.png()
    at = whole.index(b"IDAT")
    size = int.from_bytes(whole[at - 4 : at])
    for length in (1, size // 2, size - 10):
        cut = whole[: at - 4] + samples.chunk(b"IDAT", whole[at + 4 : at + 4 + length]) + samples.chunk(b"IEND", b"")
        assert refusal(cut).code in {"truncated", "unreadable"}


def test_a_gif_that_was_cut_and_given_an_end_is_refused() -> None:
    whole = samples.written(samples.picture(), "GIF")
    start = whole.rindex(b",\0\0\0\0") + 10
    start += 3 * 2 ** ((whole[start - 1] & 7) + 1) if whole[start - 1] & 0x80 else 0
    first = whole[start + 1]
    assert refusal(whole[: start + 2 + first] + b"\0;").code in {"truncated", "unreadable"}


def test_a_packed_bmp_that_was_cut_is_refused() -> None:
    whole = samples.bmp_of(64, 8, rows=b"\x40\1\0\0" * 8 + b"\0\1", depth=8, packing=1)
    assert kept(whole)[1].size == (64, 8)
    assert refusal(whole[:-14]).code in {"truncated", "unreadable"}


def test_a_heic_or_avif_whose_picture_runs_over_its_end_is_refused() -> None:
    for whole in (samples.heic(200, 200), samples.written(samples.picture(200, 200), "AVIF")):
        at = whole.index(b"mdat") - 4
        endless = whole[:at] + bytes(4) + whole[at + 4 :]
        assert kept(endless)[1].size == (200, 200)
        assert refusal(endless[: at + (len(endless) - at) // 2]).code in {"truncated", "unreadable"}


@pytest.mark.parametrize("name", JPEGS)
def test_a_jpeg_that_was_cut_behind_a_byte_of_ones_is_refused_and_a_whole_one_with_such_bytes_is_taken(
    name: str,
) -> None:
    whole = JPEGS[name]()
    half = (scan_start(whole) + len(whole)) // 2
    assert refusal(whole[:half].rstrip(b"\xff") + b"\xff" + END).code in {"truncated", "unreadable"}
    assert kept(whole[: -len(END)] + b"\xff\xff" + END)[1].size == samples.read(whole).size
