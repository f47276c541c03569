"""A cut file is found by its scan data: an end that was put there hides nothing, and what follows a whole one is dropped."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PIL import Image

from tests.searches import samples
from tests.searches.test_pictures import kept, refusal

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
    # Whose last row of pixels is the only one of its squares.
    "large and uneven": lambda: samples.jpeg(1_201, 897),
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
        # Not in the middle of a marker, which would be another fault.
        assert refusal(whole[:length].rstrip(b"\xff") + END).code in {"truncated", "unreadable"}
    assert refusal(whole[: start + (len(whole) - start) // 2].rstrip(b"\xff") + END).code == "truncated"


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
