"""Metadata is stripped without being unpacked, and no metadata makes a picture fail. Only EXIF's orientation is read."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable

import pytest
from PIL import Image

from searches.pictures import BadPicture, isolation, stripping
from tests.searches import samples
from tests.searches.pictures.test_reading import difference, kept
from tests.searches.samples import chunk

XMP = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/></rdf:RDF></x:xmpmeta>'
)
# An orientation for which encoders of HEIC and AVIF write no box; the tests change it afterwards.
UPRIGHT_XMP = XMP.replace(b'n="6"', b'n="1"')
ANCILLARY = (b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"iCCP", b"gAMA", b"cHRM", b"sRGB", b"pHYs", b"tIME", b"bKGD", b"sBIT")


def wrong(kind: bytes, data: bytes = b"Comment\0\0\0\0\0text") -> bytes:
    """Returns a chunk with a wrong checksum."""
    whole = chunk(kind, data)
    return whole[:-1] + bytes((whole[-1] ^ 1,))


def profile(size: int) -> bytes:
    """Returns a profile that swaps colours, made this large by an unknown tag."""
    whole = bytearray(samples.swapped_profile())
    whole += bytes(size - len(whole))
    whole[:4] = len(whole).to_bytes(4)
    return bytes(whole)


def webp_with(*pieces: tuple[bytes, bytes]) -> bytes:
    whole = samples.webp(exif=samples.exif(1))
    at = whole.index(b"EXIF")
    added = b"".join(kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) & 1) for kind, data in pieces)
    body = whole[8:at] + added + whole[at:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    "content",
    [
        samples.png_with(chunk(b"zTXt", b"parameters\0\0" + zlib.compress(bytes(2_000_000)))),
        samples.png_with(chunk(b"iTXt", b"parameters\0\1\0\0\0" + zlib.compress(bytes(90_000_000)))),
        samples.text_bomb(),
        samples.profile_bomb(),
        samples.png_with(*(chunk(b"tEXt", b"parameters\0" + bytes(60_000)) for _ in range(100))),
        samples.png_with(chunk(b"tEXt", b""), chunk(b"zTXt", b"a"), chunk(b"iTXt", b"\0\1"), chunk(b"iCCP", b"\0")),
        samples.png_with(chunk(b"pHYs", b""), chunk(b"gAMA", b""), chunk(b"cHRM", b"1"), chunk(b"sRGB", b"")),
        samples.png_with(chunk(b"acTL", b""), chunk(b"fcTL", b"1"), chunk(b"fdAT", b"")),
        samples.png_with(chunk(b"tRNS", b"")),
        *(samples.png_with(wrong(kind)) for kind in ANCILLARY),
        samples.png_with(wrong(b"tRNS", bytes(6))),
    ],
)
def test_nothing_beside_the_pixels_of_a_png_refuses_it(content: bytes) -> None:
    isolation.check(content)
    _, pixels, _ = kept(content)
    assert difference(pixels, samples.picture(8, 8)) == 0


@pytest.mark.parametrize("kind", [b"IHDR", b"IDAT", b"IEND"])
def test_a_wrong_checksum_in_what_is_needed_does(kind: bytes) -> None:
    whole = bytearray(samples.png())
    at = whole.index(kind)
    size = int.from_bytes(whole[at - 4 : at])
    whole[at + 4 + size] ^= 1
    with pytest.raises(BadPicture) as refused:
        isolation.check(bytes(whole))
    assert refused.value.code == "unreadable"


@pytest.mark.parametrize("size", [1_500_000, 3_000_000])
def test_a_large_profile_is_used(size: int) -> None:
    content = samples.written(Image.new("RGB", (8, 8), "red"), "PNG", icc_profile=profile(size))
    assert kept(content)[1].getpixel((4, 4)) == (0, 255, 0)


def test_one_that_is_larger_than_any_is_dropped() -> None:
    content = samples.written(Image.new("RGB", (8, 8), "red"), "PNG", icc_profile=profile(6_000_000))
    assert kept(content)[1].getpixel((4, 4)) == (255, 0, 0)


WHOLE: dict[str, Callable[..., bytes]] = {"JPEG": samples.jpeg, "PNG": samples.png, "WEBP": samples.webp}


@pytest.mark.parametrize(
    "content",
    [
        samples.jpeg(xmp=XMP),
        samples.png_with(chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP)),
        samples.webp(xmp=XMP),
        samples.heic_of(samples.picture(), xmp=UPRIGHT_XMP).replace(UPRIGHT_XMP, XMP),
        samples.written(samples.picture(), "AVIF", xmp=UPRIGHT_XMP).replace(UPRIGHT_XMP, XMP),
    ],
    ids=["jpeg", "png", "webp", "heic", "avif"],
)
def test_an_orientation_in_xmp_alone_turns_nothing(content: bytes) -> None:
    assert XMP in content
    _, pixels, _ = kept(content)
    assert pixels.width >= pixels.height
    assert difference(pixels, samples.picture(*pixels.size)) < 12


@pytest.mark.parametrize("format", WHOLE)
def test_exif_counts_where_xmp_says_otherwise(format: str) -> None:
    content = samples.written(
        samples.picture(), format, exif=samples.exif(3), **({} if format == "PNG" else {"xmp": XMP})
    )
    _, pixels, _ = kept(content)
    assert difference(pixels, samples.picture().transpose(Image.Transpose.ROTATE_180)) < 6


def test_of_a_heic_its_own_boxes_count_and_not_exif() -> None:
    """Changes EXIF's orientation after the encoding, so that the encoder has written no box for it."""
    plain = samples.heic_of(samples.picture(), exif=samples.exif(1))
    tag = b"\x01\x12\x00\x03\x00\x00\x00\x01\x00"
    little = b"\x12\x01\x03\x00\x01\x00\x00\x00"
    at = plain.find(tag) + len(tag) if tag in plain else plain.index(little) + len(little)
    turned = plain[:at] + b"\x06" + plain[at + 1 :]
    assert turned != plain
    assert kept(turned)[1].size == (64, 48)


@pytest.mark.parametrize(
    ("exif", "orientation"),
    [
        (samples.exif(6).tobytes(), 6),
        (samples.exif(6).tobytes().removeprefix(b"Exif\0\0"), 6),
        (b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\x08\0\0", 8),
        (b"II*\0\x08\0\0\0\1\0\x12\x01\3\0\1\0\0\0\x08\0\0\0", 8),
        (b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\1\0\x09\0\0", 1),
        (b"MM\0*\0\0\0\x08\0\1\x01\x12\0\4\0\0\0\1\0\0\0\x08", 1),
        (b"MM\0*\0\0\0\x08\0\1\x01\x12\0\3\0\0\0\2\0\x08\0\0", 1),
        (b"MM\0*\xff\xff\xff\xff\0\1\x01\x12\0\3\0\0\0\1\0\x08\0\0", 1),
        (b"MM\0*\0\0\0\x08\xff\xff\x01\x0f\0\3", 1),
        (b"", 1),
        (b"Exif\0\0", 1),
        (b"no tiff at all", 1),
    ],
)
def test_only_a_plain_number_from_1_to_8_is_an_orientation(exif: bytes, orientation: int) -> None:
    assert stripping.orientation(exif) == orientation


def test_broken_notes_refuse_no_heic_and_no_avif() -> None:
    for make in (samples.heic_of, lambda picture, **notes: samples.written(picture, "AVIF", **notes)):
        plain = make(samples.picture(), exif=samples.exif(1), xmp=UPRIGHT_XMP)
        broken = (
            plain.replace(b"Exif\0\0MM", b"????????")
            .replace(b"Exif\0\0II", b"????????")
            .replace(UPRIGHT_XMP[:40], bytes(40))
        )
        assert broken != plain
        assert kept(broken)[1].size == (64, 48)


@pytest.mark.parametrize(
    "notes",
    [
        b"\xff\xe1\x00\x02",
        b"\xff\xe2\x00\x0fICC_PROFILE\0\1",
        b"\xff\xe2\x00\x08MPF\0\xff\xff",
        b"\xff\xed\x00\x14Photoshop 3.0\x008BIM\xff",
        b"\xff\xee\x00\x05Ado",
        b"\xff\xfe\xff\xff" + bytes(65_533),
        b"\xff\xe0\x00\x09JFIF\0\xff\xff",
    ],
)
def test_broken_notes_refuse_no_jpeg(notes: bytes) -> None:
    whole = samples.jpeg()
    assert difference(kept(whole[:2] + notes + whole[2:])[1], samples.picture()) < 6


@pytest.mark.parametrize(
    "piece", [(b"EXIF", b"broken"), (b"XMP ", bytes(7)), (b"ICCP", b""), (b"junk", b"?"), (b"ALPH", b"")]
)
def test_broken_notes_refuse_no_webp(piece: tuple[bytes, bytes]) -> None:
    assert kept(webp_with(piece))[1].size == (64, 48)


def test_what_a_gif_says_beside_its_first_frame_is_dropped() -> None:
    notes = b"!\xfe\x03abc\0" + b"!\xff\x0bXMP DataXMP\x03abc\0" + b"!\x01\x0c" + bytes(12) + b"\0"
    assert kept(samples.gif_of(notes, samples.gif_frame(), notes))[1].size == (8, 8)
