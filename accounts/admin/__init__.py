"""Who asks, and where they are told, as operators see it."""

from accounts.admin import team, tenants, webhooks

__all__ = ["team", "tenants", "webhooks"]
