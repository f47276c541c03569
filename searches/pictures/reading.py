"""Decodes hostile bytes to a plain picture: upright, RGB or RGBA in sRGB, nothing but pixels.

It runs in a process of its own (`decoder`), on what `stripping` leaves of a file; the file's name and declared type do not count.
Every exception that a decoder raises becomes a `BadPicture`. Pictures are stored in formats that browsers and providers take:
a GIF and a BMP become a PNG, without loss; a HEIC and an AVIF become a JPEG, or a WebP if parts of them are transparent.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from typing import Any

import pillow_heif
from PIL import Image, JpegImagePlugin
from PIL.ExifTags import Base as ExifTag

from searches.pictures import bitmaps, colours, fitting, pixel_rows, scans
from searches.pictures.containers import bounded, is_bare_jpeg
from searches.pictures.exceptions import BadPicture, too_many_pixels, truncated, unreadable
from searches.pictures.stripping import Stripped, stripped

pillow_heif.register_heif_opener(thumbnails=False, depth_images=False, aux_images=False, decode_threads=1)

# The operation that turns a picture upright, by EXIF's orientation.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
PILLOW_NAMES = {"HEIC": "HEIF"}
# Pillow's messages for a file with too few pixels; the second is for packed rows.
LACKING = re.compile("truncated|not enough image data", re.IGNORECASE)
# Fast rather than small.
PNG: Mapping[str, Any] = {"format": "PNG", "compress_level": 1}
WEBP: Mapping[str, Any] = {"format": "WEBP", "quality": 90, "method": 2}
LOSSLESS_WEBP: Mapping[str, Any] = {"format": "WEBP", "lossless": True, "quality": 20, "method": 0}
# The lower bytes alone of 16-bit colours as a PNG holds them; as it is opened, Pillow takes the upper ones.
LOWER = "RGB;16L"


@dataclass(frozen=True, kw_only=True)
class Decoded:
    """Holds a decoded picture. `options`: Pillow's, to save it as good as it was. `bare`: the file, if it may be stored so."""

    pixels: Image.Image
    options: Mapping[str, Any]
    bare: bytes | None = field(default=None, repr=False)

    @property
    def stored_as(self) -> str:
        format: str = self.options["format"]
        return format

    def rewritten(self) -> bytes:
        """Returns the file to be stored. Raises `BadPicture`: decoders take some sizes that no encoder writes."""
        if self.bare is not None:
            return self.bare
        try:
            return fitting.write(self.pixels, **self.options)
        except Exception:
            raise unreadable() from None


def decoded(format: str, content: bytes, *, most_pixels: int) -> Decoded:
    """Decodes a file that `containers` judged to be of this format. Raises `BadPicture`."""
    try:
        return _decoded(format, content, stripped(format, content), most_pixels)
    except BadPicture:
        raise
    except Exception as error:  # Pillow names no base for what it raises on bad bytes
        raise (truncated() if LACKING.search(str(error)) else unreadable()) from None


def stored(format: str, content: bytes) -> Image.Image:
    """Decodes a stored file, whose pixels are plain already, and may be more than those that were sent."""
    image = Image.open(BytesIO(content), formats=[format])
    image.load()
    return colours.plain(image, ())


def thumbnail(format: str, content: bytes, size: tuple[int, int]) -> bytes:
    """Makes a small WebP of a stored file."""
    image = Image.open(BytesIO(content), formats=[format])
    image.draft("RGB", size)
    image.thumbnail(size)
    return fitting.write(image, format="WEBP")


def _decoded(format: str, content: bytes, file: Stripped, most_pixels: int) -> Decoded:
    image = _opened(format, file.content, most_pixels)
    bounded(*(file.canvas or image.size), most_pixels)
    if format == "JPEG":
        image = _whole(image, file.content, most_pixels)
    image.load()
    # Read before the pixels are converted, which drops the format's own facts.
    options = _options(image, format, file.content)
    may_be_bare = format == "JPEG" and image.mode == "RGB" and file.orientation == 1 and not file.profile
    if format == "PNG" and pixel_rows.are_cut(file.content, image):
        raise truncated()
    pixels = colours.plain(_shown(format, image, file), _profiles(format, image, file), file.gamma)
    pixels = _on_canvas(pixels, file)
    if (turn := UPRIGHT.get(_turned(format, image, file))) is not None:
        pixels = pixels.transpose(turn)
    pixels.info = {}
    bare = content if may_be_bare and is_bare_jpeg(content) else None
    return Decoded(pixels=pixels, options=options or _lossy(pixels), bare=bare)


def _opened(format: str, content: bytes, most_pixels: int) -> Image.Image:
    """Opens a file by its header alone. A BMP that Pillow does not read is decoded whole."""
    try:
        image = Image.open(BytesIO(content), formats=[PILLOW_NAMES.get(format, format)])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise too_many_pixels(most_pixels) from None
    except OSError as error:
        if not str(error).startswith(bitmaps.NOT_READ):
            raise
        return bitmaps.decoded(content)
    bounded(*image.size, most_pixels)
    return image


def _whole(image: Image.Image, content: bytes, most_pixels: int) -> Image.Image:
    """Decodes a stripped JPEG. Raises `BadPicture` if the file is cut, or `OSError` as Pillow does.

    Where it takes two decodes, they run beside each other: one after the other took 3 ms longer for 1280 × 853 pixels.
    """
    open_ended = scans.open_ended(content, image.width * image.height)
    if open_ended is not None:
        image = _opened("JPEG", open_ended, most_pixels)
        image.load()
        return image
    filled = _opened("JPEG", scans.filled(content), most_pixels)
    with ThreadPoolExecutor(1) as beside:
        loading = beside.submit(filled.load)
        image.load()
        loading.result()
    if scans.is_cut(content, image, filled):
        raise truncated()
    return image


def _shown(format: str, image: Image.Image, file: Stripped) -> Image.Image:
    """Returns the pixels with a PNG's transparent colour applied, and without a BMP's alpha if that is zero everywhere."""
    if format == "BMP" and image.mode == "RGBA" and image.getchannel("A").getextrema() == (0, 0):
        return image.convert("RGB")
    if not file.clear:
        return image
    low: Image.Image | None = None
    if image.mode.startswith("I"):
        halves = image.tobytes()
        upper, low = (Image.frombytes("L", image.size, halves, "raw", raw) for raw in ("L;16", "L;16B"))
        return colours.without(upper, file.clear, low, file.depth)
    if file.depth == 16:
        low = Image.open(BytesIO(file.content), formats=["PNG"])
        low.tile = [tile._replace(args=LOWER) for tile in low.tile]
        low.load()
    return colours.without(image if image.mode == "RGB" else image.convert("L"), file.clear, low, file.depth)


def _profiles(format: str, image: Image.Image, file: Stripped) -> tuple[bytes, ...]:
    """Returns the colour profiles of a picture, the best first."""
    if format in {"HEIC", "AVIF"}:
        return (image.info.get("icc_profile") or b"",)
    if format == "PNG":
        return colours.profile_of_codes(file.codes), colours.unpacked_profile(file.profile)
    return (file.profile,)


def _turned(format: str, image: Image.Image, file: Stripped) -> int:
    """Returns EXIF's orientation. HEIC's decoder turns the picture itself; AVIF's reports the file's own boxes as EXIF."""
    if format != "AVIF":
        return file.orientation
    image.info.pop("xmp", None)
    return int(image.getexif().get(ExifTag.Orientation, 1))


def _on_canvas(pixels: Image.Image, file: Stripped) -> Image.Image:
    """Puts a first frame that is smaller than its canvas on it; the rest of the canvas is transparent."""
    if file.canvas is None or (file.canvas == pixels.size and file.place == (0, 0)):
        return pixels
    canvas = Image.new("RGBA", file.canvas, (0, 0, 0, 0))
    canvas.paste(pixels, file.place)
    return canvas


def _options(image: Image.Image, format: str, content: bytes) -> Mapping[str, Any] | None:
    """Returns options for `save`; None where the pixels decide.

    A JPEG is written with the tables of the file that was sent, which loses next to nothing. A WebP stays lossy or lossless,
    written with a fast method: the slowest takes ten times as long and saves a tenth of the bytes.
    """
    if format == "JPEG":
        return {"format": format, **_jpeg_tables(image)}
    if format == "WEBP":
        return LOSSLESS_WEBP if content[12:16] == b"VP8L" else WEBP
    return None if format in {"HEIC", "AVIF"} else PNG


def _lossy(pixels: Image.Image) -> Mapping[str, Any]:
    if pixels.mode == "RGB":
        return {"format": "JPEG", "quality": 92}
    return WEBP if max(pixels.size) <= fitting.LONGEST_SIDES["WEBP"] else PNG


def _jpeg_tables(image: Image.Image) -> dict[str, Any]:
    assert isinstance(image, JpegImagePlugin.JpegImageFile)
    if image.mode not in {"L", "RGB"}:
        return {"quality": 90}
    # A component is (id, horizontal sampling, vertical sampling, number of its table). The second component's table is chroma's.
    numbers = [component[3] for component in image.layer[:2]]
    return {
        "qtables": [image.quantization[number] for number in numbers],
        "subsampling": max(JpegImagePlugin.get_sampling(image), 0),
    }
