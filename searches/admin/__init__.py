"""The admin pages of searches, as operators see them."""

from searches.admin import back_links, lanes, lookups, pictures, reconciliations, searches  # noqa: F401  # registers their pages
