"""The operators' pages of tenants, API keys, webhooks, of the operators themselves, and of the log of their acts."""

from accounts.admin import acts, api_keys, team, tenants, webhooks

__all__ = ["acts", "api_keys", "team", "tenants", "webhooks"]
