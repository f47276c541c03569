"""Pictures: judged and decoded (`containers`, `reading`, `apart`), cut (`cropping`), fitted to a provider's limits
(`fitting`), kept (`keeping`); by their URL, fetched first (`fetching`). Who reads one at once is bounded (`lines`).
"""

from accounts.places import Busy
from searches.pictures.containers import BadPicture, TooLarge
from searches.pictures.cropping import BadCrop, Crop
from searches.pictures.fetching import fetched
from searches.pictures.keeping import (
    Deleted,
    Draft,
    erase,
    erase_unnamed,
    erase_unused,
    known,
    read,
    received,
    refresh,
    sweep_crops,
    sweep_orphans,
    thumbnail,
)

__all__ = [
    "BadCrop",
    "BadPicture",
    "Busy",
    "Crop",
    "Deleted",
    "Draft",
    "TooLarge",
    "erase",
    "erase_unnamed",
    "erase_unused",
    "fetched",
    "known",
    "read",
    "received",
    "refresh",
    "sweep_crops",
    "sweep_orphans",
    "thumbnail",
]
