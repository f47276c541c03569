"""Builds the admin's sidebar: models grouped by an operator's question, not by app, and only those that the operator may see."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Model
from django.http import HttpRequest

from accounts.models import Act, ApiKey, BulkAct, Delivery, Endpoint, Event, Tenant, User
from billing.models import (
    Account,
    Entry,
    Hold,
    KeyCap,
    LedgerAudit,
    Price,
    Reconciliation,
    Statement,
    TenantCap,
    ThresholdAlert,
    Usage,
)
from providers.models import Credential, Policy
from searches.models import Call, Image, Lane, Lookup, Rendering, Result, Search, TenantQueue

GROUPS: dict[str, tuple[type[Model], ...]] = {
    "Searches": (Search, Lookup, Call, Result, Image, Rendering),
    "Lanes": (Policy, Lane, TenantQueue),
    "Tenants": (Tenant, ApiKey, Credential),
    "Webhooks": (Endpoint, Event, Delivery),
    "Credits": (
        Account,
        Entry,
        Hold,
        TenantCap,
        KeyCap,
        ThresholdAlert,
        Usage,
        Statement,
        Reconciliation,
        LedgerAudit,
        Price,
    ),
    "Operators": (Act, BulkAct, User, Group),
}


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    pages = {page["model"]: page for app in admin.site.get_app_list(request) for page in app["models"]}
    return [
        {
            "title": title,
            "separator": True,
            "items": [item(pages[model]) for model in models if model in pages and pages[model]["admin_url"]],
        }
        for title, models in GROUPS.items()
    ]


def item(page: Any) -> dict[str, str]:
    model_admin: Any = admin.site._registry[page["model"]]  # an accounts.web.admin_base.Page
    return {"title": page["name"], "icon": model_admin.icon, "link": page["admin_url"]}
