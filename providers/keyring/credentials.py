"""Stores, changes and removes tenants' keys to the providers, and decides which key is the default.

A tenant with keys to a provider has one default there: the first key becomes it, and the oldest of the others when the default is
removed. A magic key of the sandbox's becomes the default only on request. Every change locks the tenant's row first, so that
concurrent changes agree on the default.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from django.db import IntegrityError, OperationalError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from psycopg.errors import DeadlockDetected

from accounts.models import Tenant
from providers.keyring import resting, sealing
from providers.models import Credential

# The label of a key that is given none. A key with this label need not be the default.
DEFAULT_LABEL = "default"
# A removal that conflicts with another transaction is tried this often.
TRIES = 5
# The columns that a new key changes in its row.
REPLACED = (
    *sealing.COLUMNS,
    *("state", "state_changed_at", "updated_at", "checked_at", "check_problem", "account", "account_read_at"),
    *("rests_until", "told_to_wait_at", "times_told_to_wait"),
)


class BadLabel(ValueError):
    """The text cannot be a label."""

    def __init__(self, detail: str, code: str) -> None:
        super().__init__(detail)
        self.code = code


class TooManyCredentials(Exception):
    """The tenant has as many keys as it may have. The message says how many, and what to do."""


class LabelTaken(Exception):
    """The tenant has another key to the provider under this label."""


def default_of(tenant_id: UUID, provider: str) -> Credential | None:
    """Returns the credential of searches that name none. `searches_quotes` in `searches/orders/quotes.sql` repeats the rule, for
    speed.
    """
    return Credential.objects.filter(tenant=tenant_id, provider=provider, is_default=True).first()


def store(tenant: Tenant, provider: str, secret: str, *, label: str = DEFAULT_LABEL) -> Credential:
    """Stores a key in place of an earlier one of that label. Raises `BadSecret`, `BadLabel` and `TooManyCredentials`."""
    label = clean_label(label)
    with _locked_keys(tenant.pk, provider) as keys:
        credential = keys.filter(label=label).first() or _new(tenant, provider, label)
        _replace(credential, secret)
        _ensure_default(keys)
    credential.refresh_from_db()
    return credential


def create(tenant: Tenant, provider: str, secret: str, *, label: str, is_default: bool = False) -> Credential:
    """Stores a key beside the existing ones. Raises `BadSecret`, `BadLabel`, `LabelTaken` and `TooManyCredentials`."""
    label = clean_label(label)
    with _locked_keys(tenant.pk, provider) as keys:
        _check_label(keys, label)
        credential = _new(tenant, provider, label)
        _replace(credential, secret)
        if is_default:
            _set_default(keys, credential)
        _ensure_default(keys)
    credential.refresh_from_db()
    return credential


def change(
    credential: Credential, *, secret: str | None = None, label: str | None = None, is_default: bool = False
) -> None:
    """Changes everything that is given, or nothing.

    Raises `BadSecret`, `BadLabel`, `LabelTaken`, and `Credential.DoesNotExist` if the key was removed.
    """
    if label is not None:
        label = clean_label(label)
    with _locked_keys(credential.tenant_id, credential.provider) as keys:
        present = keys.get(pk=credential.pk)
        if label is not None and label != present.label:
            _check_label(keys, label)
            keys.filter(pk=present.pk).update(label=label, updated_at=Now())
        if is_default:
            _set_default(keys, present)
        if secret is not None:
            _replace(present, secret)
            _ensure_default(keys)
    credential.refresh_from_db()


def check_room(tenant: Tenant, provider: str, label: str) -> None:
    """Raises `TooManyCredentials` if the tenant may store no more keys. A key of an existing label replaces that one, and
    needs no room.

    The answer stays true while the tenant is locked.
    """
    most, own = tenant.limit("most_credentials"), Credential.objects.for_tenant(tenant)
    if own.count() >= most and not own.filter(provider=provider, label=label).exists():
        raise TooManyCredentials(
            f"{most:,} provider keys are stored, as many as there may be; delete one, or replace one."
        )


def remove(credential: Credential) -> None:
    """Erases a key. If it was the default, the oldest of the others becomes the default. Removing twice is harmless.

    Lookups that wait for the key fail when their turn comes. None is sent with another key, which may be another account's.
    """
    for _ in range(TRIES - 1):
        try:
            return _remove(credential)
        except IntegrityError:
            # A lookup was submitted with the key meanwhile. The next try sees it, and detaches it like the others.
            continue
        except OperationalError as error:
            # A call with the key was settled meanwhile, which locks the same lookups in the order of their queue.
            if not isinstance(error.__cause__, DeadlockDetected):
                raise
    return _remove(credential)


def _remove(credential: Credential) -> None:
    with _locked_keys(credential.tenant_id, credential.provider) as keys:
        keys.filter(pk=credential.pk).delete()
        _ensure_default(keys)


@contextmanager
def _locked_keys(tenant_id: UUID, provider: str) -> Iterator[QuerySet[Credential]]:
    """Yields a tenant's keys to a provider, which no other transaction changes meanwhile."""
    with transaction.atomic():
        Tenant.objects.select_for_update(no_key=True).get(pk=tenant_id)
        yield Credential.objects.filter(tenant=tenant_id, provider=provider)


def _check_label(keys: QuerySet[Credential], label: str) -> None:
    if keys.filter(label=label).exists():
        raise LabelTaken


def _new(tenant: Tenant, provider: str, label: str) -> Credential:
    """Returns an unsaved row. The caller has locked the tenant. Raises `TooManyCredentials`."""
    check_room(tenant, provider, label)
    return Credential(tenant=tenant, provider=provider, label=label, is_default=False)


def _replace(credential: Credential, secret: str) -> None:
    """Puts a key into a row and saves it. The key is untried from now on, and notes on the earlier key are cleared.

    A rest belongs to the key and not to the row: a key that rests in another row, or in this one, continues to rest.
    """
    sealing.seal(credential, secret)
    if not credential._state.adding:
        # Waits for a transaction that writes a rest to this row, and keeps others from writing one until this one commits.
        Credential.objects.select_for_update(no_key=True).get(pk=credential.pk)
    credential.state = Credential.State.UNKNOWN
    credential.state_changed_at = Now()
    credential.updated_at = Now()
    credential.checked_at = credential.account = credential.account_read_at = None
    credential.check_problem = ""
    for column, value in resting.inherited(credential.provider, credential.fingerprint).items():
        setattr(credential, column, value)
    credential.save(update_fields=None if credential._state.adding else REPLACED)


def _ensure_default(keys: QuerySet[Credential]) -> None:
    """Makes the oldest key that is not magic the default, if there is no default."""
    if keys.filter(is_default=True).exists():
        return
    oldest = keys.filter(is_magic=False).order_by("created_at", "pk").first()
    if oldest is not None:
        _set_default(keys, oldest)


def _set_default(keys: QuerySet[Credential], credential: Credential) -> None:
    keys.filter(is_default=True).exclude(pk=credential.pk).update(is_default=False, updated_at=Now())
    keys.filter(pk=credential.pk, is_default=False).update(is_default=True, updated_at=Now())


def clean_label(label: str) -> str:
    """Returns a label as it is stored. Raises `BadLabel`.

    A search names a credential by its id or its label, so a label must not look like an id.
    """
    longest = Credential._meta.get_field("label").max_length or 0
    if not 1 <= len(label) <= longest:
        raise BadLabel(f"Give 1 to {longest} characters.", "max_length" if label else "blank")
    try:
        UUID(label)
    except ValueError:
        return label
    raise BadLabel("Must not look like an id; choose a name.", "looks_like_an_id")
