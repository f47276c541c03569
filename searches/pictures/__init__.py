"""Pictures: judged by their skeleton (`containers`), then read in a process of their own (`isolation`), kept
(`keeping`) and counted (`usage`); by their URL, fetched first (`fetching`). Who reads one at once is bounded (`bulkhead`).

In that process (`decoder`, `confinement`, `work`) a file is stripped (`stripping`), decoded (`reading`, `bitmaps`, `colours`,
`codes`, `rows`, `scans`), cut (`cropping`) and fitted to each provider's limits (`fitting`). Those import no Django.
"""

from accounts.web.bulkhead import Busy
from searches.pictures.cropping import BadCrop, Crop
from searches.pictures.exceptions import BadPicture, TooLarge
from searches.pictures.fetching import fetched
from searches.pictures.isolation import check
from searches.pictures.storage import (
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
from searches.pictures.usage import TooManyImages

__all__ = [
    "BadCrop",
    "BadPicture",
    "Busy",
    "Crop",
    "Deleted",
    "Draft",
    "TooLarge",
    "TooManyImages",
    "check",
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
