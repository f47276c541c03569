"""Pictures to test with, made on the spot: good ones, odd ones and hostile ones."""

from __future__ import annotations

import struct
import zipfile
import zlib
from io import BytesIO
from typing import Any
from uuid import UUID

import pillow_heif
from PIL import Image, ImageCms, PngImagePlugin
from PIL.ExifTags import GPS, IFD
from PIL.ExifTags import Base as ExifTag

from providers.contract import Picture
from searches import pictures
from searches.models import Image as StoredImage
from searches.models import Rendering, Search

TEXT = b"This is no picture.\n" * 20


def picture(width: int = 64, height: int = 48, mode: str = "RGB") -> Image.Image:
    """Red grows to the right, green downwards, blue from the middle; no two corners are alike."""
    across = Image.linear_gradient("L").rotate(90).resize((width, height))
    down = Image.linear_gradient("L").resize((width, height))
    around = Image.radial_gradient("L").resize((width, height))
    return Image.merge("RGB", (across, down, around)).convert(mode)


def plain_picture(width: int, height: int) -> Image.Image:
    """Makes a picture of one colour: large, and quick to write."""
    return Image.new("RGB", (width, height), "teal")


def written(image: Image.Image, format: str, **options: Any) -> bytes:
    file = BytesIO()
    image.save(file, format, **options)
    return file.getvalue()


def read(content: bytes) -> Image.Image:
    image = Image.open(BytesIO(content))
    image.load()
    return image


def jpeg(width: int = 64, height: int = 48, **options: Any) -> bytes:
    return written(picture(width, height), "JPEG", **options)


def png(width: int = 64, height: int = 48, mode: str = "RGB", **options: Any) -> bytes:
    return written(picture(width, height, mode), "PNG", **options)


def webp(width: int = 64, height: int = 48, **options: Any) -> bytes:
    return written(picture(width, height), "WEBP", **options)


def heic(width: int = 64, height: int = 48, mode: str = "RGB", **options: Any) -> bytes:
    return heic_of(picture(width, height, mode), **options)


def heic_of(image: Image.Image, *, exif: Image.Exif | None = None, **options: Any) -> bytes:
    file, heif = BytesIO(), pillow_heif.from_pillow(image)
    if exif is not None:
        heif[0].info["exif"] = exif.tobytes()
    heif.save(file, **options)
    return file.getvalue()


def half_clear() -> Image.Image:
    image = picture()
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def exif(orientation: int = 1) -> Image.Exif:
    """Adds the words that must not survive: a town and a camera's owner."""
    tags = Image.Exif()
    tags[ExifTag.Orientation] = orientation
    tags[ExifTag.Artist] = "Alice Secretname"
    tags.get_ifd(IFD.GPSInfo)[GPS.GPSLatitude] = (52.0, 31.0, 12.0)
    return tags


def swapped_profile() -> bytes:
    """A colour profile in which the numbers for red mean green: a reader that ignores it shows the wrong colours."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, green = profile.index(b"rXYZ", 128), profile.index(b"gXYZ", 128)
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile).replace("sRGB".encode("utf-16-be"), "swap".encode("utf-16-be"))


def chunk(kind: bytes, data: bytes) -> bytes:
    """One piece of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_with(*chunks: bytes) -> bytes:
    """A small PNG with pieces put in before its pixels."""
    whole = png(8, 8)
    at = whole.index(b"IDAT") - 4
    return whole[:at] + b"".join(chunks) + whole[at:]


def png_bomb(width: int = 20_000, height: int = 20_000) -> bytes:
    """All of one colour: a few kilobytes that decode to hundreds of megabytes."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    pixels = zlib.compress(bytes((width // 8 + 1) * height), 9)
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def webp_canvas(width: int, height: int) -> bytes:
    """A header that promises a picture of this size, before a small one."""
    canvas = struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes([2, 0, 0, 0]) + canvas + animated("WEBP")[30:]
    return b"RIFF" + struct.pack("<I", len(body)) + body


def jpeg_of_many_scans(scans: int) -> bytes:
    """Each scan is a pass over all pixels."""
    whole = jpeg(progressive=True)
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[last:-2] * scans + whole[-2:]


def text_bomb() -> bytes:
    return png_with(chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(50_000_000), 9)))


def profile_bomb() -> bytes:
    return png_with(chunk(b"iCCP", b"profile\0\0" + zlib.compress(bytes(50_000_000), 9)))


def chunk_flood() -> bytes:
    return png_with(chunk(b"tEXt", b"a\0") * 100_000)


def grey_16_bit() -> bytes:
    """From black to white; the middle is at half of 16 bits."""
    image = Image.new("I;16", (257, 2))
    for x in range(257):
        for y in range(2):
            image.putpixel((x, y), min(x * 256, 65535))
    return written(image, "PNG")


def palette_with_transparency() -> bytes:
    image = picture(16, 16).quantize(8)
    image.putpixel((0, 0), 0)
    return written(image, "PNG", transparency=0)


def animated(format: str) -> bytes:
    """Red first, then blue."""
    red, blue = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "blue")
    options = {"lossless": True} if format == "WEBP" else {}
    return written(red, format, save_all=True, append_images=[blue], duration=100, **options)


def animated_png_with_another_default() -> bytes:
    green, blue = Image.new("RGB", (8, 8), "lime"), Image.new("RGB", (8, 8), "blue")
    return written(green, "PNG", save_all=True, append_images=[blue], default_image=True)


def two_in_one_jpeg() -> bytes:
    """Writes a file as phones do: a second picture behind the first."""
    return written(picture(), "MPO", save_all=True, append_images=[picture(32, 24)])


def png_with_words() -> bytes:
    words = PngImagePlugin.PngInfo()
    words.add_text("Author", "Alice Secretname")
    return png(pnginfo=words, exif=exif())


def gif_of(*blocks: bytes, size: tuple[int, int] = (8, 8)) -> bytes:
    """A screen of two colours, and what is drawn on it."""
    return b"GIF89a" + struct.pack("<HHBBB", *size, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff" + b"".join(blocks) + b";"


def gif_frame(width: int = 8, height: int = 8, *, x: int = 0, pixels: int | None = None) -> bytes:
    """All of colour 1, for so many pixels. Codes of 8 bits, begun anew before they would grow."""
    codes = b"".join(b"\x80" + b"\1" * min(100, left) for left in range(pixels or width * height, 0, -100)) + b"\x81"
    pieces = [codes[at : at + 255] for at in range(0, len(codes), 255)]
    data = b"".join(bytes([len(piece)]) + piece for piece in pieces)
    return b"," + struct.pack("<HHHHB", x, 0, width, height, 0) + b"\7" + data + b"\0"


def bmp_of(width: int, height: int, *, rows: bytes, depth: int = 24, packing: int = 0) -> bytes:
    palette = bytes(4 << depth) if depth <= 8 else b""
    start = 54 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, depth, packing, len(rows), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + header + palette + rows


def bmp_run_bomb(rows: int = 760) -> bytes:
    """A few kilobytes that take Pillow many seconds of Python: it fills what a line leaves out byte by byte."""
    return bmp_of(65_500, rows, rows=b"\1\1\0\0" * rows + b"\0\1", depth=8, packing=1)


def with_ispe(content: bytes, width: int, height: int) -> bytes:
    """A HEIC or AVIF whose header tells another size than its stream."""
    at = -1
    while (at := content.find(b"ispe", at + 1)) >= 0:
        content = content[: at + 8] + struct.pack(">II", width, height) + content[at + 16 :]
    return content


def sequence_of_heic() -> bytes:
    """Two pictures in one file, red first."""
    red, blue = Image.new("RGB", (64, 48), "red"), Image.new("RGB", (64, 48), "blue")
    file = pillow_heif.from_pillow(red)
    file.add_from_pillow(blue)
    out = BytesIO()
    file.save(out, primary_index=0)
    return out.getvalue()


def zip_file() -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("payload.txt", "payload")
    return file.getvalue()


def image_of(search: Search) -> StoredImage:
    """An erased search alone has none."""
    assert search.image is not None
    return search.image


def rendering(image_id: UUID, provider: str, crop: str = "") -> Picture:
    """Returns a picture as a worker finds it."""
    return pictures.read(Rendering.objects.get(image_id=image_id, provider=provider, crop=crop))
