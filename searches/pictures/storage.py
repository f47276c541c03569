"""Keeps pictures: rows in the database, files in the storage, and never one without the other for long.

Files are written before the caller's transaction, because a storage cannot be rolled back and may be slow; each try writes
under names of its own, so that removing them can hurt nobody else. Of two equal pictures sent at once the row decides, and
the loser's files go. What a crash leaves behind no row names, and the sweep removes it.
"""

from __future__ import annotations

import hashlib
import logging
import random
import re
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import Error as DatabaseError
from django.db import IntegrityError, connection, transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from accounts.models import Tenant
from accounts.web.bulkhead import Busy
from providers.contract import Picture, PictureLimits
from searches.models import Image, Lookup, Rendering
from searches.pictures import isolation, usage
from searches.pictures.cropping import Crop
from searches.pictures.exchange import MEDIA_TYPES

logger = logging.getLogger(__name__)

EXTENSIONS = {"JPEG": "jpg", "PNG": "png", "WEBP": "webp"}
FILE_NAME = re.compile(r"[0-9a-f-]{36}/([0-9a-f-]{36})\.(?:jpg|png|webp)")
# A sweep looks at this many files at most, picked at random: every orphan's turn comes.
SWEPT_AT_ONCE = 20_000
NAMES_A_QUERY = 1000
SWEPT = "A part of this picture that was cut out before is being erased; send the request again in a moment."


# As the check of the foreign key does at the commit, but before renderings are locked: whoever erases goes in that order.
HOLD = "SELECT FROM searches_image WHERE id = %s FOR KEY SHARE"


class Deleted(Exception):
    """The picture was deleted before a row could name it."""


@dataclass(kw_only=True)
class Draft:
    """A picture whose files are written beside the caller, and whose rows `save` inserts in the caller's transaction."""

    image: Image
    stored: bool
    crop: str = ""
    writing: Future[None] | None = None
    renderings: list[Rendering] = field(default_factory=list)
    written: dict[str, int] = field(default_factory=dict)  # the bytes of each file
    named: set[str] = field(default_factory=set)
    reused: set[str] = field(default_factory=set)
    saved: Image | None = None

    @property
    def pixels_sha256(self) -> str:
        """Known once it has waited."""
        return self.image.pixels_sha256

    def wait(self) -> None:
        """Until its files are written: before a transaction, so that none is open meanwhile. Then `crop` is in whole
        pixels. Raises `BadPicture` or `Busy`.
        """
        if self.writing is not None:
            self.writing.result()

    def save(self) -> Image:
        """Its rows, which the caller's are to name: before the caller locks anything, for an equal picture is waited for."""
        self.wait()
        image = self.saved = self.image if self.stored else self._insert()
        for rendering in self.renderings:
            if rendering.file == self.image.file:
                rendering.file = image.file
            rendering.image = image
        Rendering.objects.bulk_create(self.renderings, ignore_conflicts=True)
        written = set(self.written)
        self.named = written if self.is_new else _named(written)
        return image

    @property
    def is_new(self) -> bool:
        """Whether its row is the caller's own, which nobody else sees yet."""
        return not self.stored and self.saved is self.image

    def hold(self) -> None:
        """Keeps erasers and the sweep from what was there already, until the rows that need it are. Last in the caller's
        transaction, as settlements check what they name. Raises `Deleted` or `Busy`, or `usage.TooManyImages` for what is new.
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
        """The row of whoever came first with these bytes."""
        try:
            with transaction.atomic():
                self.image.save(force_insert=True)
        except IntegrityError:
            first = Image.objects.filter(tenant_id=self.image.tenant_id, sha256=self.image.sha256).first()
            if first is None:
                raise Deleted from None
            return first
        return self.image


@contextmanager
def received(tenant: Tenant, content: bytes, *, fit: Mapping[str, PictureLimits], crop: str = "") -> Iterator[Draft]:
    """A picture as a tenant sent it, with a rendering of what `crop` leaves of it for each provider of `fit`.

    Wrap the transaction that calls `save` in it: on leaving, files that no committed row names are gone. One that the
    tenant has already is not decoded again; a new one is while the block goes on. Raises `BadPicture`, `Busy` or `Deleted`.
    """
    isolation.check_size(content)
    sha256 = hashlib.sha256(content).hexdigest()
    image = Image.objects.for_tenant(tenant).filter(sha256=sha256).first()
    draft = Draft(image=image or Image(tenant=tenant, sha256=sha256, bytes=len(content)), stored=image is not None)
    with _tidied(draft), ThreadPoolExecutor(1) as beside:
        if image is None:
            draft.writing = beside.submit(_write_new, draft, content, fit, Crop.parse(crop))
        else:
            _write_lacking(draft, fit, Crop.parse(crop))
        yield draft


@contextmanager
def known(image: Image, *, fit: Mapping[str, PictureLimits], crop: str = "") -> Iterator[Draft]:
    """The same for a picture that is stored. Raises `BadCrop`, `Busy` or `Deleted`."""
    draft = Draft(image=image, stored=True)
    with _tidied(draft):
        _write_lacking(draft, fit, Crop.parse(crop))
        yield draft


def read(rendering: Rendering) -> Picture:
    """The picture as it is sent to the provider. Raises `OSError`."""
    return Picture(content=_read(rendering.file), media_type=rendering.media_type)


def thumbnail(image: Image, size: tuple[int, int]) -> bytes:
    """A WebP. Raises `OSError`, `BadPicture` or `Busy`."""
    return isolation.thumbnail(_kept_as(image), _read(image.file), size, pixels=image.width * image.height)


@transaction.atomic
def erase(image: Image) -> None:
    """Its rows, and its files once that is committed. Raises `ProtectedError` while a search names it."""
    # Before its renderings, as those who hold them.
    Image.objects.select_for_update().filter(pk=image.pk).first()
    files = {**dict(image.renderings.values_list("file", "bytes")), image.file: image.file_bytes}
    tenant_id = image.tenant_id
    image.delete()
    usage.remove(tenant_id, images=1, bytes=sum(files.values()))
    transaction.on_commit(lambda: _remove(files))


def erase_unnamed(image_id: UUID) -> None:
    """The same, unless a search names it. Last in the caller's transaction, as `Draft.hold`."""
    image = Image.objects.select_for_update().filter(pk=image_id).first()
    # Asked now: whoever was about to name it has been waited for, and whoever comes later waits.
    if image is not None and not image.searches.exists():
        erase(image)


@transaction.atomic
def erase_unused(image_id: UUID, since: datetime) -> None:
    """Erases a picture, unless a search names it or it was sent again later than `since`."""
    image = Image.objects.select_for_update().filter(pk=image_id, stored_at__lte=since).first()
    if image is not None and not image.searches.exists():
        erase(image)


def refresh(image: Image) -> None:
    """Notes that its tenant stored the picture again just now. Raises `Deleted`."""
    if not Image.objects.filter(pk=image.pk).update(stored_at=Now()):
        raise Deleted
    image.refresh_from_db(fields=["stored_at"])


def sweep_orphans(older_than_seconds: float) -> int:
    """Removes files that no row names, once they are older than any upload can last. Returns how many."""
    names = [name for name in _listed() if _age_seconds(name) > older_than_seconds]
    chosen = random.sample(names, min(len(names), SWEPT_AT_ONCE))
    removed = 0
    for start in range(0, len(chosen), NAMES_A_QUERY):
        batch = set(chosen[start : start + NAMES_A_QUERY])
        orphans = batch - _named(batch)
        _remove(orphans)
        removed += len(orphans)
    return removed


def sweep_crops(older_than_seconds: float) -> int:
    """Erases the renderings of crops that no open lookup needs, once they are older than that: their number has no other
    bound. Whoever wants one again has it made anew. Returns how many.
    """
    unneeded = Rendering.objects.exclude(crop="").filter(~Exists(_needing()))
    old = [pk for pk, file in unneeded.values_list("pk", "file") if _age_seconds(file) > older_than_seconds]
    return sum(_erase_crops(old[start : start + NAMES_A_QUERY]) for start in range(0, len(old), NAMES_A_QUERY))


def _needing() -> QuerySet[Lookup]:
    """The open lookups of a rendering."""
    return Lookup.objects.filter(
        search__image=OuterRef("image"),
        search__crop=OuterRef("crop"),
        provider=OuterRef("provider"),
        status__in=Lookup.OPEN,
    )


def _erase_crops(keys: list[int]) -> int:
    with transaction.atomic():
        count, files = _erase_rows(keys)
    _remove(files)
    return count


def _erase_rows(keys: list[int]) -> tuple[int, set[str]]:
    """Erases these renderings, but for those that a draft holds or a lookup needs by now. Returns how many, and the files that
    nothing names any more.
    """
    own = Rendering.objects.filter(pk__in=keys)
    # Two sweeps at one picture would each leave a file, and its bytes, to the other. Whoever erases it locks it first, too.
    images = Image.objects.filter(pk__in=own.values("image")).order_by("pk")
    tenants = dict(images.select_for_update(no_key=True, skip_locked=True).values_list("pk", "tenant"))
    locked = list(own.filter(image__in=tenants).select_for_update(skip_locked=True).values_list("pk", flat=True))
    unneeded = own.filter(~Exists(_needing()), pk__in=locked).values_list("pk", "image", "file", "bytes")
    erased = list(unneeded)
    own.filter(pk__in=[pk for pk, *_ in erased]).delete()
    named = _named({file for _, _, file, _ in erased})
    files = {file: (tenants[image], size) for _, image, file, size in erased if file not in named}
    freed: Counter[UUID] = Counter()
    for tenant_id, size in files.values():
        freed[tenant_id] += size
    for tenant_id in sorted(freed):
        usage.remove(tenant_id, images=0, bytes=freed[tenant_id])
    return len(erased), set(files)


def _write_new(draft: Draft, content: bytes, fit: Mapping[str, PictureLimits], crop: Crop) -> None:
    """Without a word to the database: this thread has no connection."""
    image = draft.image
    format, made = isolation.read(content, limits=fit, crop=crop, by=image.tenant_id)
    draft.crop = made.crop
    image.format, image.pixels_sha256 = format.lower(), made.pixels_sha256
    image.width, image.height = made.width, made.height
    image.file, image.file_bytes = _write(draft, made.kept_as, made.original), len(made.original)
    _add_renderings(draft, made.original, made.renderings, draft.crop)


def _write_lacking(draft: Draft, fit: Mapping[str, PictureLimits], crop: Crop) -> None:
    if not fit:
        return
    crop = crop.in_pixels((draft.image.width, draft.image.height))
    draft.crop = str(crop)
    present = draft.image.renderings.filter(crop=draft.crop, provider__in=fit)
    draft.reused = set(present.values_list("provider", flat=True))
    lacking = {provider: limits for provider, limits in fit.items() if provider not in draft.reused}
    if not lacking:
        return
    original = _original(draft.image)
    image = draft.image
    fitted = isolation.fitted(
        _kept_as(image), original, pixels=image.width * image.height, limits=lacking, crop=crop, by=image.tenant_id
    )
    _add_renderings(draft, original, fitted, draft.crop)


def _kept_as(image: Image) -> str:
    """Returns the format of a picture's file, by the name that it was given. Raises `FileNotFoundError` for a name that was never
    given to any: nothing is stored under it that could be read.
    """
    for format, extension in EXTENSIONS.items():
        if image.file.endswith(f".{extension}"):
            return format
    raise FileNotFoundError(f"Picture {image.pk} has a file of no known format.")


def _original(image: Image) -> bytes:
    try:
        return _read(image.file)
    except FileNotFoundError:
        if Image.objects.filter(pk=image.pk).exists():
            raise
        raise Deleted from None


def _add_renderings(draft: Draft, original: bytes, fitted: Mapping[str, tuple[str, bytes]], crop: str) -> None:
    """One file for all providers that get the same."""
    written = {id(original): draft.image.file}
    for provider, (format, content) in fitted.items():
        file = written.get(id(content)) or _write(draft, format, content)
        written[id(content)] = file
        draft.renderings.append(
            Rendering(
                provider=provider,
                crop=crop,
                media_type=MEDIA_TYPES[format],
                bytes=len(content),
                file=file,
            )
        )


@contextmanager
def _tidied(draft: Draft) -> Iterator[None]:
    try:
        yield
    except BaseException:
        # It may have come after the commit, or in place of its answer: only the database knows.
        written = set(draft.written)
        _remove(written - _named_if_known(written))
        raise
    _remove(draft.written.keys() - draft.named)


def _named_if_known(names: set[str]) -> set[str]:
    """All of them where the database cannot be asked: the sweep will."""
    try:
        return _named(names)
    except DatabaseError:
        return names


def _named(names: set[str]) -> set[str]:
    """Those of the names that a row gives its file."""
    if not names:
        return set()
    images = Image.objects.filter(file__in=names).values_list("file")
    renderings = Rendering.objects.filter(file__in=names).values_list("file")
    return {file for (file,) in images.union(renderings)}


def _write(draft: Draft, format: str, content: bytes) -> str:
    name = f"{draft.image.tenant_id}/{uuid7()}.{EXTENSIONS[format]}"
    draft.written[name] = len(content)
    stored = default_storage.save(name, ContentFile(content))
    assert stored == name, "a name of our own is never taken"
    return name


def _read(name: str) -> bytes:
    with default_storage.open(name) as file:
        content: bytes = file.read()
        return content


def _remove(names: Iterable[str]) -> None:
    for name in names:
        try:
            default_storage.delete(name)
        except Exception:  # each storage has errors of its own; the sweep comes again
            logger.warning("The picture file %s could not be removed yet.", name, exc_info=True)


def _listed() -> Iterator[str]:
    """The files that were written here; whatever else lies in the storage is not ours."""
    try:
        folders, _ = default_storage.listdir("")
    except FileNotFoundError:
        return
    for folder in folders:
        _, files = default_storage.listdir(folder)
        yield from (name for name in (f"{folder}/{file}" for file in files) if FILE_NAME.fullmatch(name))


def _age_seconds(name: str) -> float:
    """From the name, a UUIDv7: asking the storage would be a request a file."""
    match = FILE_NAME.fullmatch(name)
    assert match is not None
    made_at_ms = UUID(match[1]).int >> 80
    return time.time() - made_at_ms / 1000
