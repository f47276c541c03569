"""The product as operators see it."""

from searches.admin import line, lookups, pictures, searches

__all__ = ["line", "lookups", "pictures", "searches"]
