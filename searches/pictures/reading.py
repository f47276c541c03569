"""Reads hostile bytes into a plain picture: upright, RGB or RGBA in sRGB, nothing beside its pixels.

The name and the declared type are never asked. Everything is bounded by what the header says before a pixel is decoded, and
whatever Pillow throws at bytes made to break it ends as a `BadPicture`. What is kept is what browsers and providers take:
a GIF and a BMP become a PNG, which loses nothing; a HEIC and an AVIF a JPEG, or a WebP where parts of it are clear.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any
from uuid import UUID

from django.conf import settings
from PIL import Image, ImageCms, JpegImagePlugin
from PIL.ExifTags import Base as ExifTag
from PIL.ImageFile import ImageFile

from searches.pictures import apart, fitting
from searches.pictures.containers import (
    TAKEN,
    BadPicture,
    TooLarge,
    is_bare_jpeg,
    judge,
    too_long,
    too_many_pixels,
    truncated,
    unreadable,
)
from searches.pictures.lines import Line

# By EXIF's orientation: what turns the picture upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# The largest profiles in use, for printing, have 3 MB.
MAX_PROFILE_BYTES = 4_000_000
# A picture of 50 megapixels takes 350 to 570 MB while it is worked on, a WebP 950, and seconds: above this size one at a
# time in a process.
LARGE_PIXELS = 8_000_000
BUSY = "Too many pictures are being read right now; send the request again in a moment."
STRIP_PIXELS = 4_000_000
# Fast rather than small.
PNG: Mapping[str, Any] = {"format": "PNG", "compress_level": 1}
WEBP: Mapping[str, Any] = {"format": "WEBP", "quality": 90, "method": 2}
LONGEST_SIDE = max(fitting.LONGEST_SIDE.values())
# Small ones that are read apart have a line of their own, so that none of them waits behind a large one.
large_ones = Line(at_once=1, places=8, detail=BUSY)
small_ones = Line(at_once=2, places=8, detail=BUSY)


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """`format` is what was sent; `options` what Pillow's `save` needs to write what is kept, in quality as it came. `bare`:
    the file as it was sent, where it may be kept so.
    """

    pixels: Image.Image
    format: str
    options: Mapping[str, Any]
    bare: bytes | None = field(default=None, repr=False)

    @property
    def kept_as(self) -> str:
        format: str = self.options["format"]
        return format

    def rewritten(self) -> bytes:
        """The file as it is kept. Raises `BadPicture`: a decoder takes some sizes that no encoder writes."""
        if self.bare is not None:
            return self.bare
        try:
            return fitting.write(self.pixels, **self.options)
        except Exception:
            raise unreadable() from None


@contextmanager
def decoded(content: bytes, *, by: UUID | None = None) -> Iterator[Decoded]:
    """Gives the picture for the time of the block. `by`: the tenant's id; None for the operator. Raises `BadPicture` or
    `Busy`.
    """
    check_size(content)
    format = judge(content)
    if format in apart.FORMATS:
        large = apart.pixels_told(format, content) > LARGE_PIXELS
        with (large_ones if large else small_ones).turn_of(by):
            yield _decode_apart(format, content, large=large)
    else:
        image = _opened(format, content)
        with _turn(image, by):
            yield _decode(image, format, content)


@contextmanager
def decoded_again(original: bytes, *, by: UUID | None = None) -> Iterator[tuple[Image.Image, str]]:
    """Pixels and format of a file that `rewritten` wrote: it is trusted, and may be larger than what was sent. Raises
    `Busy`.
    """
    with _kept(original) as image, _turn(image, by):
        yield _plain(image, 1, b""), str(image.format)


def thumbnail(original: bytes, size: tuple[int, int], *, by: UUID | None = None) -> bytes:
    """The same, made small, as a WebP."""
    with _kept(original) as image, _turn(image, by):
        image.draft("RGB", size)
        image.thumbnail(size)
        return fitting.write(image, format="WEBP")


def _kept(original: bytes) -> ImageFile:
    return Image.open(BytesIO(original), formats=list(fitting.MEDIA_TYPES))


def _turn(image: ImageFile, by: UUID | None) -> AbstractContextManager[None]:
    return large_ones.turn_of(by) if image.width * image.height > LARGE_PIXELS else nullcontext()


def check_size(content: bytes) -> None:
    if not content:
        raise BadPicture("empty", f"The file is empty. {TAKEN}")
    if len(content) > settings.PICTURE_MAX_BYTES:
        raise TooLarge(
            "too_large",
            f"The picture has {len(content):,} bytes; send at most {settings.PICTURE_MAX_BYTES:,}.",
        )


def pixels_sha256(pixels: Image.Image) -> str:
    """Equal for two files that show the same, whatever their format. By strips, so that no second copy is held."""
    digest = hashlib.sha256(f"{pixels.mode} {pixels.width} {pixels.height} ".encode())
    rows = max(1, STRIP_PIXELS // pixels.width)
    if rows >= pixels.height:
        digest.update(pixels.tobytes())
        return digest.hexdigest()
    for top in range(0, pixels.height, rows):
        strip = pixels.crop((0, top, pixels.width, min(top + rows, pixels.height)))
        digest.update(strip.tobytes())
    return digest.hexdigest()


def _opened(format: str, content: bytes) -> ImageFile:
    """Its header alone."""
    try:
        image = Image.open(BytesIO(content), formats=[format])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise too_many_pixels() from None
    except Exception:  # Pillow names no base for what it raises on bad bytes
        raise unreadable() from None
    if image.width * image.height > settings.PICTURE_MAX_PIXELS:
        raise too_many_pixels()
    if max(image.size) > LONGEST_SIDE:
        # Pillow's time goes with the square of a row: 132 bytes of WebP took it 4 s.
        raise too_long(LONGEST_SIDE)
    return image


def _decode(image: ImageFile, format: str, content: bytes) -> Decoded:
    try:
        image.load()
        pixels = _plain(image, _orientation(image), image.info.get("icc_profile"))
        # Without metadata it is neither turned nor coloured otherwise; its pixels are what it says.
        bare = content if format == "JPEG" and image.mode == "RGB" and is_bare_jpeg(content) else None
        return Decoded(pixels=pixels, format=format, options=_options(image, format, content), bare=bare)
    except Exception as error:
        raise (truncated() if "truncated" in str(error).lower() else unreadable()) from None


def _decode_apart(format: str, content: bytes, *, large: bool) -> Decoded:
    bound = apart.LARGE if large else apart.SMALL
    read = apart.read(format, content, most_pixels=settings.PICTURE_MAX_PIXELS, longest_side=LONGEST_SIDE, bound=bound)
    pixels = _plain(read.pixels, read.orientation, read.profile)
    return Decoded(pixels=pixels, format=format, options=PNG if format == "BMP" else _lossy(pixels))


def _plain(image: Image.Image, orientation: int, profile: bytes | None) -> Image.Image:
    # Pillow's own `exif_transpose` writes the metadata anew, and fails where a camera's is malformed.
    turn = UPRIGHT.get(orientation)
    pixels = _in_srgb(_eight_bit(image), profile) if profile else _rgb(_eight_bit(image))
    if turn is not None:
        pixels = pixels.transpose(turn)
    pixels.info = {}
    return pixels


def _orientation(image: ImageFile) -> int:
    try:
        return int(image.getexif().get(ExifTag.Orientation, 1))
    except Exception:  # malformed metadata are no reason to refuse the pixels
        return 1


def _eight_bit(image: Image.Image) -> Image.Image:
    """Pillow's own conversion of 16-bit grey cuts everything above 255 to white."""
    if not image.mode.startswith("I"):
        return image
    grey = image.point(lambda value: value * (1 / 256)).convert("L")
    grey.info.pop("transparency", None)  # a 16-bit value that would make another grey transparent
    return grey


def _rgb(image: Image.Image) -> Image.Image:
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """Colours as the profile means them; a profile that cannot be used is dropped."""
    source = image if image.mode == "CMYK" else _rgb(image)
    target = "RGB" if image.mode == "CMYK" else source.mode
    try:
        return _converted(source, profile, target)
    except Exception:
        return _rgb(source)


def _converted(source: Image.Image, profile: bytes, target: str) -> Image.Image:
    if len(profile) > MAX_PROFILE_BYTES:
        raise ValueError("The profile is too large.")
    meant = ImageCms.ImageCmsProfile(BytesIO(profile))
    if ImageCms.getProfileDescription(meant).startswith("sRGB"):
        return source
    converted = ImageCms.profileToProfile(source, meant, ImageCms.createProfile("sRGB"), outputMode=target)
    if converted is None:
        raise ValueError("The profile converts nothing.")
    return converted


def _options(image: ImageFile, format: str, content: bytes) -> Mapping[str, Any]:
    """JPEG: the very tables it came with, so that it loses next to nothing. WebP: as it came, with or without loss, and
    at the fast end: its slow end takes ten times as long to save a tenth.
    """
    if format == "JPEG":
        return {"format": format, **_jpeg_tables(image)}
    if format == "WEBP":
        return {"format": format, "lossless": True, "quality": 20, "method": 0} if b"VP8L" in content else WEBP
    return PNG


def _lossy(pixels: Image.Image) -> Mapping[str, Any]:
    if pixels.mode == "RGB":
        return {"format": "JPEG", "quality": 92}
    return WEBP if max(pixels.size) <= fitting.LONGEST_SIDE["WEBP"] else PNG


def _jpeg_tables(image: ImageFile) -> dict[str, Any]:
    assert isinstance(image, JpegImagePlugin.JpegImageFile)
    if image.mode not in {"L", "RGB"}:
        return {"quality": 90}
    # A component is (id, horizontal and vertical sampling, number of its table); chroma uses the second one's.
    numbers = [component[3] for component in image.layer[:2]]
    return {
        "qtables": [image.quantization[number] for number in numbers],
        "subsampling": max(JpegImagePlugin.get_sampling(image), 0),
    }
