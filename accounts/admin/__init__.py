"""The operators' pages of tenants, API keys, webhooks, and of the operators themselves."""

from accounts.admin import team, tenants, webhooks

__all__ = ["team", "tenants", "webhooks"]
