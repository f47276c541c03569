"""Creates, changes and removes endpoints, and keeps the secrets that sign their deliveries: one each, sealed, shown once.

A rotated secret signs beside the new one for a day, so that a receiver can change over at any time. Changes lock the tenant or
the endpoint, and nothing here uses the network.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from accounts import resealing, vault
from accounts.models import Endpoint, EventType, Tenant
from accounts.net import public_addresses
from accounts.resealing import Resealed
from accounts.webhooks.events import record
from accounts.webhooks.wakeups import wake_up

PREFIX = "whsec_"
SECRET_BYTES = 32
OVERLAP = timedelta(hours=24)
BY_TENANT = "by you"
BY_OPERATOR = "by an operator"
# The columns that hold a sealed secret.
SEALED = ("sealed", "previous_sealed")


class TooManyEndpoints(Exception):
    """The tenant may have no more endpoints of the mode, in all or at one host. The message says how many there may be."""


class Repeated(Exception):
    """The tenant has an endpoint of the mode at this URL, where each event would arrive twice."""


class HeldByOperator(Exception):
    """An operator disabled the endpoint, and an operator alone enables it."""


def create(
    tenant: Tenant, mode: str, *, url: str, description: str = "", events: Sequence[str] = ()
) -> tuple[Endpoint, str]:
    """Creates an endpoint, and returns it with its secret, which cannot be shown again. `events`: empty for all.

    Raises `BadAddress`, `TooManyEndpoints` and `Repeated`, and `ValueError` for a type of events that there is not.
    """
    target = public_addresses.host_of(public_addresses.parse(url))
    types, secret = _types(events), _new_secret()
    endpoint = Endpoint(tenant=tenant, mode=mode, url=url, target=target, description=description, events=types)
    endpoint.sealed = vault.seal(secret, associated=_owner(endpoint))
    with transaction.atomic():
        Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)
        _check_room(tenant, mode)
        _check_url(endpoint, url, target)
        endpoint.save(force_insert=True)
    endpoint.refresh_from_db()
    return endpoint, secret


def change(
    endpoint: Endpoint,
    *,
    url: str | None = None,
    description: str | None = None,
    events: Sequence[str] | None = None,
    enabled: bool | None = None,
) -> None:
    """Changes what is given, all or nothing. Deliveries under way keep their URL.

    Raises `BadAddress`, `TooManyEndpoints`, `Repeated`, `HeldByOperator` and `Endpoint.DoesNotExist`, and `ValueError` for a
    type of events that there is not.
    """
    values: dict[str, Any] = {}
    target = None if url is None else public_addresses.host_of(public_addresses.parse(url))
    if description is not None:
        values["description"] = description
    if events is not None:
        values["events"] = _types(events)
    with transaction.atomic():
        if url is not None and target is not None:
            _move(endpoint, url, target)
        Endpoint.objects.filter(pk=endpoint.pk).update(**values, updated_at=Now())
        _reread(endpoint)
        if enabled and endpoint.disabled_reason == BY_OPERATOR:
            raise HeldByOperator
        if enabled is not None:
            (enable if enabled else disable)(endpoint)
    _reread(endpoint)


def _move(endpoint: Endpoint, url: str, target: str) -> None:
    """Sets another URL. Failures of the former one do not count, and the endpoint is slow until a delivery shows otherwise."""
    Tenant.objects.select_for_update(no_key=True).get(pk=endpoint.tenant_id)
    _check_url(endpoint, url, target)
    elsewhere = Endpoint.objects.filter(pk=endpoint.pk).exclude(url=url)
    elsewhere.update(url=url, target=target, failing_since=None, quiet_until=None, slow=True)


def enable(endpoint: Endpoint) -> None:
    """Enables an endpoint for events from now on, and forgets its failures. Slow or quick, it stays what it was."""
    disabled = Endpoint.objects.filter(pk=endpoint.pk, enabled=False)
    disabled.update(enabled=True, disabled_reason="", failing_since=None, quiet_until=None, updated_at=Now())
    endpoint.refresh_from_db()
    transaction.on_commit(wake_up)


def disable(endpoint: Endpoint, reason: str = BY_TENANT) -> bool:
    """Disables an endpoint: it gets no more events, and its due deliveries fail. Returns False if it was disabled before.

    Records an event for the tenant's other endpoints, unless the tenant itself disabled it.
    """
    with transaction.atomic():
        enabled = Endpoint.objects.filter(pk=endpoint.pk, enabled=True)
        changed = enabled.update(enabled=False, disabled_reason=reason, updated_at=Now()) == 1
        if changed and reason != BY_TENANT:
            data = {"id": endpoint.pk, "url": endpoint.url, "description": endpoint.description, "reason": reason}
            record(endpoint.tenant_id, endpoint.mode, EventType.ENDPOINT_DISABLED, data)
    endpoint.refresh_from_db()
    return changed


def rotate(endpoint: Endpoint) -> str:
    """Makes a new secret, and returns it; it cannot be shown again. The secret before it signs too, for a day.

    Raises `Endpoint.DoesNotExist`.
    """
    secret = _new_secret()
    Endpoint.objects.filter(pk=endpoint.pk).update(
        sealed=vault.seal(secret, associated=_owner(endpoint)),
        previous_sealed=F("sealed"),
        previous_until=Now() + OVERLAP,
        updated_at=Now(),
    )
    _reread(endpoint)
    return secret


def remove(endpoint: Endpoint) -> None:
    """Removes an endpoint at once, without a lock. The log of its deliveries may be long, so `retention` deletes it later."""
    Endpoint.objects.filter(pk=endpoint.pk).update(enabled=False, disabled_reason="deleted", deleted_at=Now())


def _reread(endpoint: Endpoint) -> None:
    """Reads the row anew. Raises `Endpoint.DoesNotExist` if it was deleted."""
    endpoint.refresh_from_db(from_queryset=Endpoint.objects.all())


def secrets_of(endpoint: Endpoint, *, at: datetime) -> list[str]:
    """Returns the secrets that sign at this instant, the newest first. Raises `vault.Unopenable`."""
    sealed = [endpoint.sealed]
    if endpoint.previous_sealed is not None and endpoint.previous_until and endpoint.previous_until > at:
        sealed.append(endpoint.previous_sealed)
    return [vault.open(bytes(each), associated=_owner(endpoint)) for each in sealed]


def reseal() -> Resealed[Endpoint]:
    """Moves every signing secret to the first of our keys."""
    return resealing.reseal(Endpoint.objects.select_related("tenant"), SEALED, _owner)


def _new_secret() -> str:
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def _owner(endpoint: Endpoint) -> str:
    """Returns the owner of the secrets. They open neither as another endpoint's nor as a provider's key."""
    return f"{endpoint.tenant_id}:webhook:{endpoint.pk}"


def _check_room(tenant: Tenant, mode: str) -> None:
    """Raises `TooManyEndpoints`. The tenant is locked. Each search writes a delivery for each endpoint."""
    most = tenant.limit("most_endpoints")
    if Endpoint.objects.for_tenant(tenant).filter(mode=mode).count() >= most:
        raise TooManyEndpoints(
            f"There are {most:,} endpoints of this mode, as many as there may be; delete one, or change one."
        )


def _check_url(endpoint: Endpoint, url: str, target: str) -> None:
    """Raises `TooManyEndpoints` or `Repeated`. The tenant is locked. One event must not cause many requests to a host, which may
    be a stranger's.
    """
    most = settings.WEBHOOK_TARGET_ENDPOINTS
    others = Endpoint.objects.filter(tenant=endpoint.tenant_id, mode=endpoint.mode).exclude(pk=endpoint.pk)
    if others.filter(target=target).count() >= most:
        raise TooManyEndpoints(
            f"{most:,} endpoints of this mode are at {target}, as many as there may be at one host; change one of them."
        )
    if others.filter(url=url).exists():
        raise Repeated


def _types(events: Sequence[str]) -> list[str]:
    return [EventType(type).value for type in events]
