"""The admin pages of searches, as operators see them."""

from searches.admin import lanes, lookups, pictures, reconciliations, searches  # noqa: F401  # registers their pages
