"""The operators' pages of lanes and tenant queues, and the forms that change how long lookups wait."""

from searches.admin.lanes import page, tenant_queues, terms

__all__ = ["page", "tenant_queues", "terms"]
