"""A bare JPEG, without room for metadata, is stored as it was sent: writing it anew would lose a little and strip nothing."""

from __future__ import annotations

import zipfile
from contextlib import suppress
from io import BytesIO

import pytest
from PIL import Image

from searches import pictures
from tests.searches import samples
from tests.searches.pictures.test_reading import read_here


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2) + content


def kept(content: bytes) -> bytes:
    return read_here(content)[1].rewritten()


def saved(**options: object) -> bytes:
    file = BytesIO()
    with Image.open(BytesIO(samples.jpeg())) as picture:
        picture.convert("RGB").save(file, "JPEG", **options)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [saved(), saved(progressive=True), saved(restart_marker_blocks=2), saved(optimize=True)],
    ids=["baseline", "progressive", "restarts", "optimized"],
)
def test_a_bare_jpeg_is_kept_to_the_byte(content: bytes) -> None:
    assert kept(content) == content


SECRET = b"HIDDEN IN HERE"
PLAIN = saved()
FRAME = PLAIN.index(b"\xff\xc0")


@pytest.mark.parametrize(
    "content",
    [
        PLAIN[:2] + segment(0xFE, SECRET) + PLAIN[2:],
        PLAIN[:2] + segment(0xE1, b"Exif\0\0" + SECRET) + PLAIN[2:],
        PLAIN[:2] + segment(0xE0, b"JFXX\0" + SECRET) + PLAIN[2:],
        PLAIN[:2] + segment(0xE0, b"JFIF\0\1\1\0\0\1\0\1\0\0" + SECRET) + PLAIN[2:],
        PLAIN[:2] + segment(0xEE, b"Adobe" + SECRET) + PLAIN[2:],
        PLAIN[:FRAME] + SECRET + PLAIN[FRAME:],
        PLAIN[:FRAME] + segment(0xDB, b"\x03" + SECRET * 10)[:69] * 20 + PLAIN[FRAME:],
        PLAIN + SECRET,
    ],
    ids=["comment", "exif", "preview", "long label", "label", "between segments", "tables", "behind the end"],
)
def test_nothing_that_hides_in_a_jpeg_is_kept(content: bytes) -> None:
    assert SECRET in content
    with suppress(pictures.BadPicture):
        assert SECRET not in kept(content)


def zipped() -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w", allowZip64=True) as archive:
        archive.writestr("run.sh", SECRET)
    return file.getvalue()


@pytest.mark.parametrize(
    "hidden",
    [zipped(), b"Rar!" + SECRET, b"<ScRiPt>" + SECRET, b"<?php " + SECRET],
    # Ids, because an archive contains the time, and every process of a run must give its tests the same names.
    ids=["ZIP", "RAR", "HTML", "PHP"],
)
def test_no_archive_and_no_page_hides_among_the_bytes_of_a_scan(hidden: bytes) -> None:
    content = PLAIN[:-2] + hidden.replace(b"\xff", b"\xfe") + PLAIN[-2:]
    with suppress(pictures.BadPicture):
        assert SECRET not in kept(content)
