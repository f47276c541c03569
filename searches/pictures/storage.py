"""Stores pictures as rows in the database and files in the storage, and erases both together.

Files are written before the caller's transaction, because a storage cannot be rolled back and may be slow. Of two equal pictures
sent at once the unique row decides, and the other's files are removed. After a crash, files without a row are left to the
sweep (`sweeping`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.db import Error as DatabaseError
from django.db import connection, transaction
from django.db.models.functions import Now

from accounts.models import Tenant
from accounts.web import turns
from accounts.web.bulkhead import Busy
from providers.contract import Picture, PictureLimits
from searches.models import Image, Rendering
from searches.pictures import files, isolation, usage
from searches.pictures.cropping import Crop
from searches.pictures.exchange import MEDIA_TYPES

SWEPT = "A part of this picture that was cut out before is being erased; send the request again in a moment."
# Locks as the foreign key's check does at the commit, but before renderings are locked, which is the order of `erase`.
HOLD = "SELECT FROM searches_image WHERE id = %s FOR KEY SHARE"
# Waits for an equal picture that is being inserted. A savepoint and its release would be two more round trips.
INSERTED = ("id", "tenant_id", "sha256", "pixels_sha256", "format", "width", "height", "bytes", "file", "file_bytes")
INSERT = f"""
INSERT INTO searches_image ({", ".join(INSERTED)}) VALUES ({", ".join(["%s"] * len(INSERTED))})
ON CONFLICT (tenant_id, sha256) DO NOTHING RETURNING created_at, stored_at
"""


class Deleted(Exception):
    """The picture was deleted before a row could name it."""


@dataclass(kw_only=True)
class Draft:
    """Holds a picture whose files a thread writes, and whose rows `save` inserts in the caller's transaction.

    `written`: the bytes of each new file, by its name; `named`: those of them that a row names by now; `reused`: the providers
    whose renderings were stored before.
    """

    image: Image
    stored: bool
    crop: str = ""
    writing: Future[None] | None = None
    renderings: list[Rendering] = field(default_factory=list)
    written: dict[str, int] = field(default_factory=dict)
    named: set[str] = field(default_factory=set)
    reused: set[str] = field(default_factory=set)
    saved: Image | None = None

    def wait(self) -> None:
        """Waits until the files are written. Then `image` is complete, and `crop` in pixels. Raises `BadPicture` or `Busy`.

        Call it before a transaction, so that none is open meanwhile.
        """
        if self.writing is not None:
            with turns.aside():
                self.writing.result()

    def save(self) -> Image:
        """Inserts the rows of the picture. Returns the one that the caller's rows are to name.

        Call it before the caller locks anything, because it waits for an equal picture that is being inserted.
        """
        self.wait()
        image = self.saved = self.image if self.stored else self._insert()
        for rendering in self.renderings:
            if rendering.file == self.image.file:
                rendering.file = image.file
            rendering.image = image
        Rendering.objects.bulk_create(self.renderings, ignore_conflicts=True)
        written = set(self.written)
        self.named = written if self.is_new else files.in_rows(written)
        return image

    @property
    def is_new(self) -> bool:
        """Returns whether the saved row is the caller's own, which no other transaction sees yet."""
        return not self.stored and self.saved is self.image

    def hold(self) -> None:
        """Keeps what was stored before from being erased until the caller's rows are committed, and counts what is new.

        Call it last in the caller's transaction: a settlement checks what it names at that point too. Raises `Deleted`, `Busy` or
        `usage.TooManyImages`.
        """
        assert self.saved is not None
        if not self.is_new:
            self._hold_stored(self.saved)
        if self.is_new or self.named:
            written = sum(self.written[name] for name in self.named)
            usage.add(self.saved.tenant, images=int(self.is_new), bytes=written)

    def _hold_stored(self, image: Image) -> None:
        with connection.cursor() as cursor:
            cursor.execute(HOLD, [image.pk])
            if not cursor.rowcount:
                raise Deleted
        own = Rendering.objects.filter(image=self.image, crop=self.crop, provider__in=self.reused)
        if self.crop and len(own.order_by("pk").select_for_update(no_key=True)) < len(self.reused):
            raise Busy(SWEPT)

    def _insert(self) -> Image:
        """Inserts the picture's row, or returns the row that an equal picture inserted first."""
        image = self.image
        with connection.cursor() as cursor:
            cursor.execute(INSERT, [getattr(image, name) for name in INSERTED])
            inserted = cursor.fetchone()
        if inserted is None:
            first = Image.objects.filter(tenant_id=image.tenant_id, sha256=image.sha256).first()
            if first is None:
                raise Deleted
            return first
        image.created_at, image.stored_at = inserted
        image._state.adding = False
        return image


@contextmanager
def received(tenant: Tenant, content: bytes, *, fit: Mapping[str, PictureLimits], crop: str = "") -> Iterator[Draft]:
    """Yields a draft of a picture that a tenant sent, with a rendering of its crop for each provider of `fit`.

    A new picture is read by a thread during the block; one that the tenant has stored already is not read again. The block must
    hold the whole transaction that calls `save`: after it, files that no committed row names are removed. Raises `BadPicture`,
    `Busy` or `Deleted`.
    """
    isolation.check_size(content)
    sha256 = hashlib.sha256(content).hexdigest()
    image = Image.objects.for_tenant(tenant).filter(sha256=sha256).first()
    draft = Draft(image=image or Image(tenant=tenant, sha256=sha256, bytes=len(content)), stored=image is not None)
    with removing_unnamed(draft), ThreadPoolExecutor(1) as executor:
        if image is None:
            # The lines that the thread logs name the request too.
            run = copy_context().run
            draft.writing = executor.submit(run, _write_new, draft, content, fit, Crop.parse(crop))
        else:
            _write_missing_renderings(draft, fit, Crop.parse(crop))
        yield draft


@contextmanager
def known(image: Image, *, fit: Mapping[str, PictureLimits], crop: str = "") -> Iterator[Draft]:
    """Yields a draft of a stored picture, as `received` does. Raises `BadCrop`, `Busy` or `Deleted`."""
    draft = Draft(image=image, stored=True)
    with removing_unnamed(draft):
        _write_missing_renderings(draft, fit, Crop.parse(crop))
        yield draft


def read(rendering: Rendering) -> Picture:
    """Reads the picture that is sent to a provider. Raises `OSError`."""
    return Picture(content=files.read(rendering.file), media_type=rendering.media_type)


def thumbnail(image: Image, size: tuple[int, int]) -> bytes:
    """Returns a small WebP. Raises `OSError`, `BadPicture` or `Busy`."""
    content = files.read(image.file)
    return isolation.thumbnail(files.format_of(image.file), content, size, pixels=image.width * image.height)


@transaction.atomic
def erase(image: Image) -> None:
    """Erases the picture's rows, and its files after the commit. Raises `ProtectedError` while a search names it."""
    # Locks the picture before its renderings, as `Draft.hold` does.
    Image.objects.select_for_update().filter(pk=image.pk).first()
    names = {**dict(image.renderings.values_list("file", "bytes")), image.file: image.file_bytes}
    tenant_id = image.tenant_id
    image.delete()
    usage.remove(tenant_id, images=1, bytes=sum(names.values()))
    transaction.on_commit(lambda: files.remove(names))


def erase_unnamed(image_id: UUID, **only: datetime) -> None:
    """Erases a picture unless a search names it. Call it last in the caller's transaction, like `Draft.hold`."""
    image = Image.objects.select_for_update().filter(pk=image_id, **only).first()
    # The lock has waited for every transaction that was about to name the picture, and later ones wait for this one.
    if image is not None and not image.searches.exists():
        erase(image)


@transaction.atomic
def erase_unused(image_id: UUID, since: datetime) -> None:
    """Erases a picture, unless a search names it or it was sent again later than `since`."""
    erase_unnamed(image_id, stored_at__lte=since)


def refresh(image: Image) -> None:
    """Notes that its tenant stored the picture again just now. Raises `Deleted`."""
    if not Image.objects.filter(pk=image.pk).update(stored_at=Now()):
        raise Deleted
    image.refresh_from_db(fields=["stored_at"])


def _write_new(draft: Draft, content: bytes, fit: Mapping[str, PictureLimits], crop: Crop) -> None:
    """Reads a new picture and writes its files. Makes no query: this thread has no connection to the database."""
    image = draft.image
    format, made = isolation.read(content, limits=fit, crop=crop, by=image.tenant_id)
    draft.crop = made.crop
    image.format, image.pixels_sha256 = format.lower(), made.pixels_sha256
    image.width, image.height = made.width, made.height
    image.file, image.file_bytes = write(draft, made.stored_as, made.original), len(made.original)
    _add_renderings(draft, made.original, made.renderings)


def _write_missing_renderings(draft: Draft, fit: Mapping[str, PictureLimits], crop: Crop) -> None:
    if not fit:
        return
    image = draft.image
    crop = crop.in_pixels((image.width, image.height))
    draft.crop = str(crop)
    present = image.renderings.filter(crop=draft.crop, provider__in=fit)
    draft.reused = set(present.values_list("provider", flat=True))
    if missing := {provider: limits for provider, limits in fit.items() if provider not in draft.reused}:
        format, original, pixels = files.format_of(image.file), _original(image), image.width * image.height
        fitted = isolation.fitted(format, original, pixels=pixels, limits=missing, crop=crop, by=image.tenant_id)
        _add_renderings(draft, original, fitted)


def _original(image: Image) -> bytes:
    try:
        return files.read(image.file)
    except FileNotFoundError:
        if Image.objects.filter(pk=image.pk).exists():
            raise
        raise Deleted from None


def _add_renderings(draft: Draft, original: bytes, fitted: Mapping[str, tuple[str, bytes]]) -> None:
    """Adds the providers' renderings to the draft. Providers with the same rendering share one file."""
    written = {id(original): draft.image.file}
    for provider, (format, content) in fitted.items():
        file = written.get(id(content)) or write(draft, format, content)
        written[id(content)] = file
        draft.renderings.append(
            Rendering(provider=provider, crop=draft.crop, media_type=MEDIA_TYPES[format], bytes=len(content), file=file)
        )


def write(draft: Draft, format: str, content: bytes) -> str:
    """Writes a file of the draft, and returns its name."""
    name = files.new_name(draft.image.tenant_id, format)
    # Noted before the write, which may fail halfway.
    draft.written[name] = len(content)
    files.write(name, content)
    return name


@contextmanager
def removing_unnamed(draft: Draft) -> Iterator[None]:
    """Removes, after the block, the draft's files that no row names."""
    try:
        yield
    except BaseException:
        # The transaction may be committed nonetheless, so the database is asked.
        files.remove(draft.written.keys() - _named_or_unknown(set(draft.written)))
        raise
    files.remove(draft.written.keys() - draft.named)


def _named_or_unknown(names: set[str]) -> set[str]:
    """Returns the names that rows have; all of them where the database cannot be asked, so that the sweep decides."""
    try:
        return files.in_rows(names)
    except DatabaseError:
        return names
