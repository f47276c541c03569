"""The operators' pages of tenants, API keys and webhooks, of the operators themselves, and of their acts and bulk acts."""

from accounts.admin import acts, api_keys, bulk_acts, team, tenants, webhooks

__all__ = ["acts", "api_keys", "bulk_acts", "team", "tenants", "webhooks"]
