"""Takes, reads, stores and erases the pictures that tenants search with.

A file is judged by the skeleton of its format (`containers`), read in a process of its own (`isolation`), stored (`storage`,
`files`, `sweeping`) and counted (`usage`). For a quote it is read and not stored (`previews`), and for operators' lists it is
made small (`thumbnails`). A picture given by its URL is fetched first (`fetching`). `accounts.web.waiting_bulkhead` bounds how
many are read at once.

In its own process (`decoder`, `confinement`, `work`) a file is stripped of everything but the picture (`stripping`), decoded
(`reading`, `bitmaps`, `colours`, `pixel_rows`, `scans`, `strips`), cropped (`cropping`) and fitted to each provider's limits
(`fitting`). Those modules import no Django.
"""

from accounts.web.bulkhead import Busy as Busy
from searches.pictures.cropping import BadCrop as BadCrop
from searches.pictures.cropping import Crop as Crop
from searches.pictures.exceptions import BadPicture as BadPicture
from searches.pictures.exceptions import TooLarge as TooLarge
from searches.pictures.fetching import fetched as fetched
from searches.pictures.isolation import check as check
from searches.pictures.isolation import small as small
from searches.pictures.previews import Preview as Preview
from searches.pictures.storage import Deleted as Deleted
from searches.pictures.storage import Draft as Draft
from searches.pictures.storage import erase as erase
from searches.pictures.storage import erase_unnamed as erase_unnamed
from searches.pictures.storage import erase_unused as erase_unused
from searches.pictures.storage import known as known
from searches.pictures.storage import read as read
from searches.pictures.storage import received as received
from searches.pictures.storage import refresh as refresh
from searches.pictures.storage import thumbnail as thumbnail
from searches.pictures.sweeping import sweep_crops as sweep_crops
from searches.pictures.sweeping import sweep_orphans as sweep_orphans
from searches.pictures.thumbnails import stored_thumbnail as stored_thumbnail
from searches.pictures.usage import TooManyImages as TooManyImages
