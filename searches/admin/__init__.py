"""The product as operators see it."""

from searches.admin import lanes, lookups, pictures, searches

__all__ = ["lanes", "lookups", "pictures", "searches"]
