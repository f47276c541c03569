"""Colours, transparency and depths are read as browsers show them."""

from __future__ import annotations

import struct
import zlib

import pytest
from PIL import Image, ImageCms

from tests.searches import samples
from tests.searches.pictures.test_reading import difference, kept
from tests.searches.samples import chunk


def curve(gamma: float) -> bytes:
    """Returns a tag of ICC: a curve with one gamma."""
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"


def named(words: str) -> bytes:
    return b"desc" + bytes(4) + struct.pack(">I", len(words) + 1) + words.encode() + bytes(80)


def place(*numbers: float) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(number * 65536) for number in numbers))


def icc(space: bytes, tags: dict[bytes, bytes]) -> bytes:
    data, table = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, tag in tags.items():
        tag += bytes(-len(tag) % 4)
        table += name + struct.pack(">II", start + len(data), len(tag))
        data += tag
    body = struct.pack(">I", len(tags)) + table + data
    header = struct.pack(">I4sI4s4s4s", 128 + len(body), b"none", 0x02400000, b"mntr", space, b"XYZ ") + bytes(12)
    header += b"acsp" + bytes(28) + struct.pack(">3i", 0xF6D6, 0x10000, 0xD32D)
    return header.ljust(128, b"\0") + body


def rgb_profile(gamma: float, words: str = "sRGB-elle-V2-g10.icc") -> bytes:
    """Returns a profile with the primaries and the name of sRGB, and other curves."""
    tags = {b"rXYZ": place(0.4361, 0.2225, 0.0139), b"gXYZ": place(0.3851, 0.7169, 0.0971)}
    tags |= {b"bXYZ": place(0.1431, 0.0606, 0.7141), b"wtpt": place(0.9642, 1, 0.8249), b"desc": named(words)}
    return icc(b"RGB ", tags | {name: curve(gamma) for name in (b"rTRC", b"gTRC", b"bTRC")})


def grey_profile(gamma: float) -> bytes:
    tags = {b"kTRC": curve(gamma), b"wtpt": place(0.9642, 1, 0.8249), b"desc": named("sRGB grey")}
    return icc(b"GRAY", tags)


def flat(mode: str, colour: int | tuple[int, ...], profile: bytes, format: str = "PNG") -> bytes:
    return samples.written(Image.new(mode, (16, 16), colour), format, icc_profile=profile, **LOSSLESS.get(format, {}))


LOSSLESS: dict[str, dict[str, object]] = {
    "WEBP": {"lossless": True},
    "JPEG": {"quality": 100},
    "AVIF": {"quality": 100},
}


def shown(content: bytes) -> tuple[int, ...]:
    pixel = kept(content)[1].getpixel((8, 8))
    assert isinstance(pixel, tuple)
    return pixel


def near(found: tuple[int, ...], meant: tuple[int, ...]) -> bool:
    return len(found) == len(meant) and all(abs(one - other) <= 2 for one, other in zip(found, meant, strict=True))


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "AVIF"])
def test_a_linear_profile_is_not_believed_by_its_name(format: str) -> None:
    assert near(shown(flat("RGB", (55, 55, 55), rgb_profile(1), format)), (128, 128, 128))


@pytest.mark.parametrize(
    ("content", "meant"),
    [
        (flat("L", 55, grey_profile(1)), (128, 128, 128)),
        (flat("L", 55, grey_profile(1), "JPEG"), (128, 128, 128)),
        (flat("LA", (55, 99), grey_profile(1)), (128, 128, 128, 99)),
        (flat("RGBA", (55, 55, 55, 99), rgb_profile(1)), (128, 128, 128, 99)),
        (flat("L", 55, rgb_profile(1)), (128, 128, 128)),
        (flat("LA", (55, 99), rgb_profile(1)), (128, 128, 128, 99)),
        (flat("P", 7, rgb_profile(1)), None),
        (flat("RGB", (55, 55, 55), grey_profile(1)), (55, 55, 55)),
        (flat("CMYK", (0, 0, 0, 200), rgb_profile(1), "JPEG"), (55, 55, 55)),
        (flat("RGB", (55, 55, 55), rgb_profile(1)[:300]), (55, 55, 55)),
    ],
    ids=["L", "L, JPEG", "LA", "RGBA", "L by RGB", "LA by RGB", "P", "RGB by grey", "CMYK by RGB", "broken"],
)
def test_a_profile_is_used_for_every_mode_that_it_is_for(content: bytes, meant: tuple[int, ...] | None) -> None:
    assert meant is None or near(shown(content), meant)


def test_a_palette_is_shown_through_its_profile() -> None:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([0, 0, 0, 55, 55, 55])
    assert near(shown(samples.written(image, "PNG", icc_profile=rgb_profile(1))), (128, 128, 128))


def test_srgb_itself_changes_nothing_whatever_its_name() -> None:
    true = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    other = true.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))
    assert other != true
    for profile in (true, other):
        _, pixels, _ = kept(samples.png(icc_profile=profile))
        assert pixels.tobytes() == samples.picture().tobytes()


def test_16_bit_grey_goes_through_its_profile() -> None:
    content = samples.written(Image.new("I;16", (16, 16), 55 * 257), "PNG", icc_profile=grey_profile(1))
    assert near(shown(content), (128, 128, 128))


def clear(format: str) -> bytes:
    return samples.written(Image.new("RGBA", (16, 16), (9, 9, 9, 0)), format)


def bmp_with_alpha(alpha: int, *, version: int = 124, colour: bytes = b"\x10\x20\x30") -> bytes:
    """Returns a BMP of 32 bits a pixel, with masks for blue, green, red and alpha."""
    rows = (colour + bytes((alpha,))) * 256
    header = struct.pack("<IiiHHIIiiII", version, 16, 16, 1, 32, 3, len(rows), 0, 0, 0, 0)
    header += struct.pack("<IIII", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs"
    header = header.ljust(version, b"\0")
    return b"BM" + struct.pack("<IHHI", 14 + len(header) + len(rows), 0, 0, 14 + len(header)) + header + rows


@pytest.mark.parametrize("version", [56, 108, 124])
def test_a_bmp_whose_alpha_is_0_everywhere_is_opaque(version: int) -> None:
    assert shown(bmp_with_alpha(0, version=version)) == (0x30, 0x20, 0x10)


def test_a_bmp_that_means_its_alpha_keeps_it() -> None:
    assert shown(bmp_with_alpha(99)) == (0x30, 0x20, 0x10, 99)


def test_a_bmp_is_shown_through_the_profile_that_it_names() -> None:
    content, profile = bytearray(bmp_with_alpha(255, colour=b"\x37\x37\x37")), rgb_profile(1)
    content[70:74] = b"DEBM"
    content[126:134] = struct.pack("<II", len(content) - 14, len(profile))
    assert near(shown(bytes(content) + profile)[:3], (128, 128, 128))


@pytest.mark.parametrize("content", [clear("PNG"), clear("WEBP")])
def test_what_means_to_be_clear_everywhere_is(content: bytes) -> None:
    assert shown(content)[3] == 0


def png(colours: int, depth: int, rows: list[bytes], width: int, *pieces: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, len(rows), depth, colours, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    ends = chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(pieces) + ends


def alphas(content: bytes) -> list[int]:
    return list(kept(content)[1].convert("RGBA").getchannel("A").tobytes())


def test_the_clear_colour_of_16_bit_rgb_is_compared_in_16_bits() -> None:
    """Returns pixels that differ from the first in their lower bytes only, each in another band."""
    row = struct.pack(
        ">12H",
        *(0x1234, 0x5678, 0x9ABC),
        *(0x1235, 0x5678, 0x9ABC),
        *(0x1234, 0x5600, 0x9ABC),
        *(0x1234, 0x5678, 0x9ABD),
    )
    content = png(2, 16, [row], 4, chunk(b"tRNS", struct.pack(">3H", 0x1234, 0x5678, 0x9ABC)))
    assert alphas(content) == [0, 255, 255, 255]
    assert kept(content)[1].convert("RGB").getpixel((1, 0)) == (0x12, 0x56, 0x9A)


def test_so_is_that_of_16_bit_grey() -> None:
    content = png(0, 16, [struct.pack(">3H", 0x1234, 0x1235, 0x34)], 3, chunk(b"tRNS", struct.pack(">H", 0x1234)))
    assert alphas(content) == [0, 255, 255]
    assert kept(content)[1].convert("RGB").getpixel((0, 0)) == (0x12, 0x12, 0x12)


@pytest.mark.parametrize(
    ("depth", "row", "clear", "greys"),
    [
        (1, b"\x40", 1, [0, 255, 0]),
        (2, b"\x18", 2, [0, 85, 170]),
        (4, b"\x1a\xf0", 10, [17, 170, 255]),
        (8, b"\x01\x0a\xff", 10, [1, 10, 255]),
    ],
)
def test_grey_of_every_depth_has_its_clear_shade(depth: int, row: bytes, clear: int, greys: list[int]) -> None:
    content = png(0, depth, [row], 3, chunk(b"tRNS", struct.pack(">H", clear)))
    _, pixels, _ = kept(content)
    assert list(pixels.getchannel("R").tobytes()) == greys
    hit = clear * 255 // ((1 << depth) - 1)
    assert alphas(content) == [0 if grey == hit else 255 for grey in greys]


def test_a_clear_colour_of_8_bits_is_that_colour() -> None:
    content = png(2, 8, [b"\1\2\3\1\2\4"], 2, chunk(b"tRNS", struct.pack(">3H", 1, 2, 3)))
    assert alphas(content) == [0, 255]


@pytest.mark.parametrize(
    ("pieces", "meant"),
    [
        ([(b"gAMA", 100_000)], 127),
        ([(b"gAMA", 45_455)], 55),
        ([(b"gAMA", 45_000)], 55),
        ([(b"gAMA", 0)], 55),
        ([(b"gAMA", 100_000), (b"sRGB", None)], 55),
    ],
    ids=str,
)
def test_a_png_without_a_profile_may_tell_a_power_instead(pieces: list[tuple[bytes, int | None]], meant: int) -> None:
    added = [chunk(kind, b"\0" if value is None else struct.pack(">I", value)) for kind, value in pieces]
    assert near(shown(png(2, 8, [bytes((55,) * 30)] * 10, 10, *added)), (meant,) * 3)
    assert near(shown(png(6, 8, [bytes((55, 55, 55, 99) * 10)] * 10, 10, *added)), (meant,) * 3 + (99,))


LINEAR = (b"gAMA", struct.pack(">I", 100_000))
UNPACKABLE = (b"iCCP", b"name\0\0 no deflate")


def packed(profile: bytes) -> tuple[bytes, bytes]:
    return b"iCCP", b"name\0\0" + zlib.compress(profile)


@pytest.mark.parametrize(
    ("pieces", "meant"),
    [
        ([UNPACKABLE, LINEAR], 127),
        ([(b"iCCP", b""), LINEAR], 127),
        ([packed(rgb_profile(1)[:300]), LINEAR], 127),
        ([packed(grey_profile(1)), LINEAR], 127),
        ([packed(rgb_profile(2.2)), LINEAR], 52),
        ([(b"sRGB", b"\x63"), LINEAR], 127),
        ([(b"sRGB", b""), LINEAR], 127),
        ([(b"sRGB", b"\0\0"), LINEAR], 127),
        ([(b"sRGB", b"\3"), LINEAR], 55),
        ([UNPACKABLE, (b"sRGB", b"\0"), LINEAR], 55),
        ([(b"cICP", b"\x02\x02\0\1"), LINEAR], 127),
        ([(b"cICP", b"\x01\x0d\x05\1"), LINEAR], 127),
        ([(b"cICP", b"\x09\x10\0\1"), LINEAR], 127),
        ([(b"cICP", b"\x01\x0d"), packed(rgb_profile(1))], 128),
    ],
)
def test_a_fact_that_cannot_be_used_does_not_hide_a_lesser_one(pieces: list[tuple[bytes, bytes]], meant: int) -> None:
    assert near(shown(png(2, 8, [bytes((55,) * 30)] * 10, 10, *(chunk(*piece) for piece in pieces))), (meant,) * 3)


@pytest.mark.parametrize(
    ("codes", "colour", "meant"),
    [
        ((1, 8, 0, 1), (55, 55, 55), (128, 128, 128)),
        ((1, 13, 0, 1), (55, 99, 200), (55, 99, 200)),
        ((12, 13, 0, 1), (234, 51, 35), (255, 0, 0)),
        ((12, 13, 0, 1), (128, 128, 128), (128, 128, 128)),
        ((9, 13, 0, 1), (128, 128, 128), (128, 128, 128)),
        ((9, 8, 0, 1), (160, 18, 4), (255, 5, 0)),
        ((1, 4, 0, 1), (128, 128, 128), (129, 129, 129)),
        ((1, 5, 0, 1), (128, 128, 128), (104, 104, 104)),
        ((1, 1, 0, 1), (128, 128, 128), (141, 141, 141)),
    ],
    ids=str,
)
def test_the_code_points_of_a_png_take_precedence_over_its_other_colour_facts(
    codes: tuple[int, ...], colour: tuple[int, int, int], meant: tuple[int, int, int]
) -> None:
    others = chunk(*packed(rgb_profile(3))), chunk(b"sRGB", b"\0"), chunk(*LINEAR)
    for pieces in ((), others):
        content = png(2, 8, [bytes(colour * 10)] * 10, 10, chunk(b"cICP", bytes(codes)), *pieces)
        assert all(abs(one - other) <= 5 for one, other in zip(shown(content), meant, strict=True))


@pytest.mark.parametrize("depth", [1, 2, 4, 8])
def test_a_palette_of_every_depth_has_its_clear_entries(depth: int) -> None:
    palette, row = bytes((9, 9, 9, 200, 0, 0)), {1: b"\x40", 2: b"\x10", 4: b"\x01", 8: b"\0\1"}[depth]
    content = png(3, depth, [row], 2, chunk(b"PLTE", palette), chunk(b"tRNS", b"\x80"))
    assert alphas(content) == [0x80, 255]
    assert kept(content)[1].convert("RGB").getpixel((1, 0)) == (200, 0, 0)


@pytest.mark.parametrize(("colours", "size"), [(0, 1), (2, 3), (4, 2), (6, 4)])
def test_16_bits_are_shown_by_their_upper_8(colours: int, size: int) -> None:
    row = b"".join(bytes((0x40, 0xFF)) for _ in range(size)) * 2
    assert kept(png(colours, 16, [row], 2))[1].convert("RGB").getpixel((0, 0)) == (0x40, 0x40, 0x40)


def test_a_first_frame_of_a_gif_lies_on_a_clear_canvas() -> None:
    content = samples.gif_of(samples.gif_frame(4, 4, x=2), size=(8, 8))
    _, pixels, _ = kept(content)
    assert (pixels.mode, pixels.size) == ("RGBA", (8, 8))
    assert [pixels.getpixel(at) for at in ((0, 0), (2, 0), (5, 3), (6, 0), (2, 4))] == [
        (0, 0, 0, 0), (255, 255, 255, 255), (255, 255, 255, 255), (0, 0, 0, 0), (0, 0, 0, 0),
    ]  # fmt: skip


def test_a_first_frame_of_a_webp_does_too() -> None:
    whole = samples.animated("WEBP")
    at = whole.index(b"ANMF")
    moved = bytearray(whole)
    moved[24:30] = b"\x0f\0\0\x0f\0\0"
    moved[at + 8 : at + 14] = b"\2\0\0\1\0\0"
    _, pixels, _ = kept(bytes(moved))
    assert (pixels.mode, pixels.size) == ("RGBA", (16, 16))
    assert [pixels.getpixel(at) for at in ((3, 2), (4, 2), (11, 9))] == [(0,) * 4, (255, 0, 0, 255), (255, 0, 0, 255)]


def test_a_first_frame_of_a_png_may_be_a_part_of_its_canvas() -> None:
    """Returns an animation of which the still picture, for old programs, is no frame."""
    control = struct.pack(">IIIIIHHBB", 0, 2, 1, 1, 0, 1, 10, 0, 0)
    data = chunk(b"fdAT", struct.pack(">I", 1) + zlib.compress(b"\0" + b"\0\0\xff" * 2))
    whole = png(2, 8, [b"\xff\0\0" * 4] * 2, 4, chunk(b"acTL", struct.pack(">II", 1, 0)))
    _, pixels, _ = kept(whole.replace(chunk(b"IEND", b""), chunk(b"fcTL", control) + data + chunk(b"IEND", b"")))
    assert [pixels.getpixel((x, 0)) for x in range(4)] == [(0,) * 4, (0, 0, 255, 255), (0, 0, 255, 255), (0,) * 4]


def test_of_an_animated_png_whose_first_frame_is_its_picture_that_is_taken() -> None:
    assert kept(samples.animated("PNG"))[1].getpixel((4, 4)) == (255, 0, 0)


def test_a_grey_jpeg_with_an_alpha_free_profile_stays_whole() -> None:
    content = samples.written(samples.picture(mode="L"), "JPEG", quality=95, icc_profile=grey_profile(2.2))
    assert difference(kept(content)[1], samples.picture(mode="L").convert("RGB")) < 6
