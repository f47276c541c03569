"""The operators' pages of tenants, API keys, webhooks, and of the operators themselves."""

from accounts.admin import api_keys, team, tenants, webhooks

__all__ = ["api_keys", "team", "tenants", "webhooks"]
