"""Names, writes, reads and removes the files of pictures in Django's storage.

A name is `<tenant>/<UUIDv7>.<extension>`: unique for each write, so that removing a file affects no other, and with the time of
the write in it, so that its age costs no request to the storage.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterable, Iterator
from uuid import UUID

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from uuid_utils.compat import uuid7

from searches.models import Image, Rendering

logger = logging.getLogger(__name__)

EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
NAME = re.compile(r"[0-9a-f-]{36}/([0-9a-f-]{36})\.(?:jpg|png|webp)")


def new_name(tenant_id: UUID, format: str) -> str:
    return f"{tenant_id}/{uuid7()}.{EXTENSIONS[format]}"


def write(name: str, content: bytes) -> None:
    stored = default_storage.save(name, ContentFile(content))
    assert stored == name, "a new name is never taken"


def read(name: str) -> bytes:
    """Raises `OSError`."""
    with default_storage.open(name) as file:
        content: bytes = file.read()
        return content


def format_of(name: str) -> str:
    """Returns the format of a file by its extension. Raises `FileNotFoundError` where no file can have this name."""
    for format, extension in EXTENSIONS.items():
        if name.endswith(f".{extension}"):
            return format
    raise FileNotFoundError(f"{name!r} has the extension of no format.")


def remove(names: Iterable[str]) -> None:
    """Removes files. One that cannot be removed is logged, and left to the sweep."""
    for name in names:
        try:
            default_storage.delete(name)
        except Exception:  # each storage has errors of its own
            logger.warning("The picture file %s could not be removed yet.", name, exc_info=True)


def in_rows(names: set[str]) -> set[str]:
    """Returns those of the names that a row of the database has."""
    if not names:
        return set()
    images = Image.objects.filter(file__in=names).values_list("file")
    renderings = Rendering.objects.filter(file__in=names).values_list("file")
    return {file for (file,) in images.union(renderings)}


def listed() -> Iterator[str]:
    """Yields the names of all picture files in the storage, which may hold other files too."""
    try:
        folders, _ = default_storage.listdir("")
    except FileNotFoundError:
        return
    for folder in folders:
        _, files = default_storage.listdir(folder)
        yield from (name for name in (f"{folder}/{file}" for file in files) if NAME.fullmatch(name))


def age_seconds(name: str) -> float:
    match = NAME.fullmatch(name)
    assert match is not None
    written_at_ms = UUID(match[1]).int >> 80
    return time.time() - written_at_ms / 1000
