"""Builds the admin's sidebar: models grouped by an operator's question, not by app, and only those that the operator may see."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.models import Group
from django.db.models import Model
from django.http import HttpRequest
from django.urls import reverse

from accounts.models import ApiKey, Delivery, Endpoint, Event, Tenant, User
from billing.models import Account, Entry, Hold, Price
from providers.models import Credential, Policy
from searches.models import Call, Image, Lane, Lookup, Rendering, Result, Search, TenantQueue

GROUPS: dict[str, tuple[type[Model], ...]] = {
    "Searches": (Search, Lookup, Call, Result, Image, Rendering),
    "Lanes": (Policy, Lane, TenantQueue),
    "Tenants": (Tenant, ApiKey, Credential),
    "Webhooks": (Endpoint, Event, Delivery),
    "Credits": (Account, Entry, Hold, Price),
    "Operators": (User, Group),
}


def sidebar(request: HttpRequest) -> list[dict[str, Any]]:
    return [
        {
            "title": title,
            "separator": True,
            "items": [item(model) for model in models if may_see(request, model)],
        }
        for title, models in GROUPS.items()
    ]


def may_see(request: HttpRequest, model: type[Model]) -> bool:
    return admin.site._registry[model].has_view_or_change_permission(request)


def item(model: type[Model]) -> dict[str, str]:
    meta = model._meta
    name = str(meta.verbose_name_plural)
    page: Any = admin.site._registry[model]  # an accounts.web.admin_base.Page
    return {
        "title": name[:1].upper() + name[1:],
        "icon": page.icon,
        "link": reverse(f"admin:{meta.app_label}_{meta.model_name}_changelist"),
    }
