"""Suspends tenants: a suspended one's API keys are refused, and its waiting lookups and deliveries are held back."""

from __future__ import annotations

from django.db.models.functions import Now

from accounts.models import Tenant


def suspend(tenant: Tenant) -> bool:
    """Suspends a tenant from now on. Returns False if it was suspended before; it keeps that time."""
    changed = Tenant.objects.filter(pk=tenant.pk, suspended_at=None).update(suspended_at=Now())
    tenant.refresh_from_db(fields=["suspended_at"])
    return changed == 1


def lift(tenant: Tenant) -> bool:
    """Ends a suspension. Returns False if there was none."""
    changed = Tenant.objects.filter(pk=tenant.pk, suspended_at__isnull=False).update(suspended_at=None)
    tenant.refresh_from_db(fields=["suspended_at"])
    return changed == 1
