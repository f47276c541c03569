"""Makes the small copies of stored pictures that operators' lists show, each once.

A copy is a rendering of its own kind, so its file is counted and erased with the picture's other files. It is kept nowhere else.
"""

from __future__ import annotations

from django.db import transaction

from searches.models import Image, Rendering
from searches.pictures import files, storage, usage
from searches.pictures.exchange import MEDIA_TYPES
from searches.pictures.storage import Deleted, Draft

SIZE = (96, 96)
FORMAT = "WEBP"
# Takes the place of a provider's name in the copy's row.
KIND = "thumbnail"


def stored_thumbnail(image: Image) -> bytes:
    """Returns a small WebP, which is made and stored if there is none yet. Raises `OSError`, `BadPicture` or `Busy`."""
    stored = image.renderings.filter(provider=KIND).first()
    if stored is not None:
        return files.read(stored.file)
    content = storage.thumbnail(image, SIZE)
    try:
        _keep(image, content)
    except Deleted:
        raise FileNotFoundError("The picture was erased a moment ago.") from None
    except usage.TooManyImages:
        pass  # Its tenant has no room, and it is made again next time.
    return content


def _keep(image: Image, content: bytes) -> None:
    """Stores the copy, unless another request did a moment ago."""
    draft = Draft(image=image, stored=True)
    with storage.removing_unnamed(draft):
        file = storage.write(draft, FORMAT, content)
        copy = Rendering(provider=KIND, media_type=MEDIA_TYPES[FORMAT], bytes=len(content), file=file)
        draft.renderings.append(copy)
        with transaction.atomic():
            draft.save()
            draft.hold()
