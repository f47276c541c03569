"""Who asks, and where they are told, as operators see it."""

from accounts.admin import tenants, webhooks

__all__ = ["tenants", "webhooks"]
