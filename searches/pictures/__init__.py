"""Takes, reads, stores and erases the pictures that tenants search with.

A file is judged by the skeleton of its format (`containers`), read in a process of its own (`isolation`), stored (`storage`,
`files`, `sweeping`) and counted (`usage`). A picture given by its URL is fetched first (`fetching`). `bulkhead` bounds how
many are read at once.

In its own process (`decoder`, `confinement`, `work`) a file is stripped of everything but the picture (`stripping`), decoded
(`reading`, `bitmaps`, `colours`, `codes`, `pixel_rows`, `scans`, `strips`), cropped (`cropping`) and fitted to each provider's
limits (`fitting`). Those modules import no Django.
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
    thumbnail,
)
from searches.pictures.sweeping import sweep_crops, sweep_orphans
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
