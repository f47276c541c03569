"""Pictures: judged and decoded (`containers`, `reading`), fitted to a provider's limits (`fitting`), kept (`keeping`)."""

from searches.pictures.containers import BadPicture, TooLarge
from searches.pictures.keeping import Deleted, Draft, erase, known, received, rendering, sweep_orphans

__all__ = ["BadPicture", "Deleted", "Draft", "TooLarge", "erase", "known", "received", "rendering", "sweep_orphans"]
