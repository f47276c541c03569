"""The key ring: stores tenants' keys to the providers sealed, opens one for the moment of a call, and notes what
providers say about them. Nothing here ever puts a secret into a message, a log or a repr.

A tenant that has keys to a provider has one default there, always: the first becomes it, and when it is removed, the
oldest of the others. A magic key of the sandbox's becomes it only if it is told to. What changes a ring locks its tenant
first, so that two that come at once agree on which that is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django.db import IntegrityError, OperationalError, connection, transaction
from django.db.models import Q, QuerySet
from django.db.models.functions import Now
from psycopg.errors import DeadlockDetected

from accounts import vault, webhooks
from accounts.models import EventType, Mode, Tenant
from providers.contract import ProviderAccount, Secret
from providers.keyring import resting
from providers.models import Credential

# What can stand in a header: anything else would fail at the call, in an exception that quotes it.
SENDABLE = re.compile(r"[!-~]{1,4096}")
NEEDS_REENTRY = "The stored key cannot be opened and needs re-entry."
STILL_EMPTY = "The provider takes the key, and its account has no credits left: add some there, then verify it again."
# The label of a key that is given none. It is a name, and makes no key the default.
DEFAULT_LABEL = "default"
# How the sandbox's magic keys begin.
MAGIC = "sandbox_"
# A deletion that is in the way of something else begins anew so many times.
TRIES = 5
# Found dead, and what tenants are told then.
DEATHS = {
    Credential.State.INVALID: EventType.CREDENTIAL_REJECTED,
    Credential.State.EXHAUSTED: EventType.CREDENTIAL_EXHAUSTED,
}
DEAD = tuple(DEATHS)
# What a new key changes of its row.
REPLACED = (
    *("sealed", "fingerprint", "is_magic", "state", "state_changed_at", "updated_at"),
    *("checked_at", "check_problem", "account", "account_read_at"),
    *("rests_until", "told_to_wait_at", "times_told_to_wait"),
)


class BadSecret(ValueError):
    """Nothing that a provider can have issued."""


class BadLabel(ValueError):
    """Nothing that a key can be named by."""

    def __init__(self, detail: str, code: str) -> None:
        super().__init__(detail)
        self.code = code


class TooManyCredentials(Exception):
    """The tenant has as many keys as it may. The message says how many, and the mend."""


class LabelTaken(Exception):
    """The tenant has another key to the provider under this label."""


def store(tenant: Tenant, provider: str, secret: str, *, label: str = DEFAULT_LABEL) -> Credential:
    """Stores a key, in the place of an earlier one of that label. Raises `BadSecret`, `BadLabel` and
    `TooManyCredentials`.
    """
    label = clean_label(label)
    with _ring(tenant.pk, provider) as ring:
        credential = ring.filter(label=label).first() or _new(tenant, provider, label)
        _replace(credential, secret)
        _see_to_default(ring)
    credential.refresh_from_db()
    return credential


def create(tenant: Tenant, provider: str, secret: str, *, label: str, is_default: bool = False) -> Credential:
    """Stores a key beside those that there are. Raises `BadSecret`, `BadLabel`, `LabelTaken` and
    `TooManyCredentials`.
    """
    label = clean_label(label)
    with _ring(tenant.pk, provider) as ring:
        _refuse_taken(ring, label)
        credential = _new(tenant, provider, label)
        _replace(credential, secret)
        if is_default:
            _make_default(ring, credential)
        _see_to_default(ring)
    credential.refresh_from_db()
    return credential


def change(
    credential: Credential, *, secret: str | None = None, label: str | None = None, is_default: bool = False
) -> None:
    """All of what is given, or nothing. Raises `BadSecret`, `BadLabel`, `LabelTaken`, and `Credential.DoesNotExist` if it
    was removed.
    """
    if label is not None:
        label = clean_label(label)
    with _ring(credential.tenant_id, credential.provider) as ring:
        present = ring.get(pk=credential.pk)
        if label is not None and label != present.label:
            _refuse_taken(ring, label)
            ring.filter(pk=present.pk).update(label=label, updated_at=Now())
            present.label = label
        if is_default:
            _make_default(ring, present)
            present.is_default = True
        if secret is not None:
            _replace(present, secret)
            _see_to_default(ring)
    credential.refresh_from_db()


def check_room(tenant: Tenant, provider: str, label: str) -> None:
    """Raises `TooManyCredentials` where the tenant may store no key beside those that it has. One of this label is replaced.

    Stays true while the tenant is locked.
    """
    most, own = tenant.limit("most_credentials"), Credential.objects.for_tenant(tenant)
    if own.count() >= most and not own.filter(provider=provider, label=label).exists():
        raise TooManyCredentials(
            f"{most:,} provider keys are stored, as many as there may be; delete one, or replace one."
        )


def make_default(credential: Credential) -> None:
    """The tenant's searches that name no credential use this one from now on."""
    change(credential, is_default=True)


def remove(credential: Credential) -> None:
    """Erases a key; if it was the default, the oldest of the others is from now on. Twice is harmless.

    Lookups that wait for it fail when their turn comes: none is sent to an account that it was not meant for.
    """
    for _ in range(TRIES - 1):
        try:
            return _remove(credential)
        except IntegrityError:
            # A lookup was submitted with it in between; now it is seen, and lets go of it like the others.
            continue
        except OperationalError as error:
            # A call with it was settled in between, which locks the same lookups in the order of their line.
            if not isinstance(error.__cause__, DeadlockDetected):
                raise
    return _remove(credential)


def _remove(credential: Credential) -> None:
    with _ring(credential.tenant_id, credential.provider) as ring:
        ring.filter(pk=credential.pk).delete()
        _see_to_default(ring)


def secret_of(credential: Credential) -> Secret:
    """Opens it. Raises `vault.Unopenable`."""
    owner = _owner(credential.tenant_id, credential.provider)
    return Secret(value=vault.open(bytes(credential.sealed), associated=owner))


def is_magic(secret: Secret) -> bool:
    """Whether it is a key for the sandbox to play by: no provider issues one, and none is shown one to check it."""
    return secret.value.startswith(MAGIC)


def needs_reentry(credential: Credential) -> bool:
    """Whether none of our keys opens it any more: it was sealed under one that is gone, or is not what it was."""
    try:
        secret_of(credential)
    except vault.Unopenable:
        return True
    return False


@transaction.atomic
def mark(
    credential: Credential, state: Credential.State, *, problem: str = "", asked_at: datetime | None = None
) -> bool:
    """Notes what the provider made of it, and tells the tenant; False where that was known, something newer is, or the key
    has been replaced since it was read.

    `problem`: why it is dead, for its owner. `asked_at`: when the provider was asked; a state that is younger stands. What
    was told of the account of a dead key before does not count any more. Of a key that we cannot open the provider was never
    asked, so nothing is noted.
    """
    if needs_reentry(credential):
        return False
    found: dict[str, Any] = {"state": state, "state_changed_at": Now()}
    if state in DEAD:
        found |= {"on_trial": True, "check_problem": problem[:500], "account": None, "account_read_at": None}
    changed = _as_known(credential, asked_at).exclude(state=state).update(**found)
    if changed and state in DEATHS:
        # Of the provider's word alone, so of live keys.
        data = {"id": credential.pk, "provider": credential.provider, "label": credential.label, "state": state.value}
        webhooks.record(credential.tenant_id, Mode.LIVE, DEATHS[state], data)
    return changed == 1


@transaction.atomic
def worked(credential: Credential, *, asked_at: datetime | None = None) -> None:
    """Notes that a search got its answer with it, having asked at `asked_at`. What was found dead meanwhile stays so until
    it is replaced, and what was verified since is still to show itself.
    """
    known = _as_known(credential, asked_at).select_for_update(no_key=True).first()
    if known is None or known.is_dead:
        return
    changed = {} if known.state == Credential.State.VERIFIED else {"state_changed_at": Now()}
    _same_key(credential).update(state=Credential.State.VERIFIED, check_problem="", on_trial=False, **changed)


@transaction.atomic
def note_account(credential: Credential, account: ProviderAccount, *, asked_at: datetime | None = None) -> None:
    """Notes that the provider took the key when it was asked for its account, at `asked_at`, and what it told. What was found
    of the key since is newer, and stands.

    A key that is out of credits stays so as long as its account has none: the answer says nothing else.
    """
    known = _as_known(credential, asked_at).select_for_update(no_key=True).first()
    if known is None:
        return
    credits = None if account.credits is None else f"{account.credits.normalize():f}"
    is_empty = account.credits is not None and account.credits <= 0
    stays_empty = is_empty and known.state == Credential.State.EXHAUSTED
    is_news = known.state != Credential.State.VERIFIED and not stays_empty
    changed = {"state": Credential.State.VERIFIED, "state_changed_at": Now()} if is_news else {}
    _same_key(credential).update(
        checked_at=Now(),
        check_problem=STILL_EMPTY if stays_empty else "",
        account={"credits": credits, "limits": dict(account.limits)},
        account_read_at=Now(),
        **changed,
    )


def note_check(credential: Credential, problem: str) -> None:
    """Notes that a check was tried, and why it told nothing good."""
    _same_key(credential).update(checked_at=Now(), check_problem=problem[:500])


def note_unchecked(credential: Credential, problem: str) -> None:
    """Notes why a key was not checked: nothing was tried."""
    _same_key(credential).update(check_problem=problem)


def try_again(credential: Credential) -> None:
    """A dead key that nothing but a search can check: it is untried from now on, and one waiting lookup tries it."""
    dead = _same_key(credential).filter(state__in=DEAD)
    dead.update(state=Credential.State.UNKNOWN, state_changed_at=Now())


@dataclass(kw_only=True)
class Resealed:
    """What `reseal` came to. `left`: those that cannot be opened."""

    moved: int = 0
    current: int = 0
    left: list[Credential]


def reseal() -> Resealed:
    """Moves every sealed secret to the first of our keys, row by row, beside whatever else happens; again is harmless."""
    done = Resealed(left=[])
    for credential in Credential.objects.select_related("tenant").order_by("pk").iterator(chunk_size=200):
        try:
            if _reseal(credential):
                done.moved += 1
            else:
                done.current += 1
        except vault.Unopenable:
            done.left.append(credential)
        except Credential.DoesNotExist:
            continue
    return done


def _reseal(credential: Credential) -> bool:
    """Whether there was anything to do. A key that is stored meanwhile wins, and is looked at in its turn."""
    resealed = False
    while True:
        secret = secret_of(credential)
        if vault.is_current(bytes(credential.sealed)):
            return resealed
        sealed = vault.seal(secret.value, associated=_owner(credential.tenant_id, credential.provider))
        unchanged = Credential.objects.filter(pk=credential.pk, sealed=bytes(credential.sealed))
        resealed = unchanged.update(sealed=sealed) == 1
        credential.refresh_from_db(fields=["sealed"])


def now() -> datetime:
    """The database's clock, by which the age of a state is told."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]  # type: ignore[no-any-return]


@contextmanager
def _ring(tenant_id: UUID, provider: str) -> Iterator[QuerySet[Credential]]:
    """A tenant's keys to a provider, changed by nobody else meanwhile."""
    with transaction.atomic():
        Tenant.objects.select_for_update(no_key=True).get(pk=tenant_id)
        yield Credential.objects.filter(tenant=tenant_id, provider=provider)


def _refuse_taken(ring: QuerySet[Credential], label: str) -> None:
    if ring.filter(label=label).exists():
        raise LabelTaken


def _new(tenant: Tenant, provider: str, label: str) -> Credential:
    """In the tenant's locked ring. Raises `TooManyCredentials`."""
    check_room(tenant, provider, label)
    return Credential(tenant=tenant, provider=provider, label=label, is_default=False)


def _replace(credential: Credential, secret: str) -> None:
    """Puts a key into a row. The key is untried from now on, and nothing told of the earlier key counts.

    A rest stays with its key: the same key again, or one that another row has, rests as it did.
    """
    secret = clean(secret)
    if not credential._state.adding:
        # A rest that is being written to the row is seen when it is committed, and none is written until this is.
        Credential.objects.select_for_update(no_key=True).get(pk=credential.pk)
    credential.sealed = vault.seal(secret, associated=_owner(credential.tenant_id, credential.provider))
    credential.fingerprint = vault.fingerprint(secret)
    credential.is_magic = is_magic(Secret(value=secret))
    credential.state = Credential.State.UNKNOWN
    credential.state_changed_at = Now()
    credential.updated_at = Now()
    credential.checked_at = credential.account = credential.account_read_at = None
    credential.check_problem = ""
    for column, value in resting.inherited(credential.provider, credential.fingerprint).items():
        setattr(credential, column, value)
    credential.save(update_fields=None if credential._state.adding else REPLACED)


def _see_to_default(ring: QuerySet[Credential]) -> None:
    """Where there is none, the oldest key becomes it that is for the provider itself."""
    if ring.filter(is_default=True).exists():
        return
    heir = ring.filter(is_magic=False).order_by("created_at", "pk").first()
    if heir is not None:
        _make_default(ring, heir)


def _make_default(ring: QuerySet[Credential], credential: Credential) -> None:
    ring.filter(Q(is_default=True) & ~Q(pk=credential.pk)).update(is_default=False, updated_at=Now())
    ring.filter(pk=credential.pk, is_default=False).update(is_default=True, updated_at=Now())


def _same_key(credential: Credential) -> QuerySet[Credential]:
    """Its row, unless it holds another key than when it was read."""
    return Credential.objects.filter(pk=credential.pk, fingerprint=credential.fingerprint)


def _as_known(credential: Credential, asked_at: datetime | None) -> QuerySet[Credential]:
    """The row of the same key, unless its state has become what it is since the provider was asked; None: just now."""
    known = _same_key(credential)
    return known if asked_at is None else known.filter(state_changed_at__lte=asked_at)


def clean(secret: str) -> str:
    """As it is stored. Raises `BadSecret`."""
    secret = secret.strip()
    if not secret:
        raise BadSecret("The provider key is empty.")
    if not SENDABLE.fullmatch(secret):
        raise BadSecret("A provider key is at most 4096 letters, digits and signs, without spaces or line breaks.")
    return secret


def clean_label(label: str) -> str:
    """As it is stored. A search names a credential by id or label, so none may be taken for the other. Raises `BadLabel`."""
    longest = Credential._meta.get_field("label").max_length or 0
    if not 1 <= len(label) <= longest:
        raise BadLabel(f"Give 1 to {longest} characters.", "max_length" if label else "blank")
    try:
        UUID(label)
    except ValueError:
        return label
    raise BadLabel("Must not look like an id; choose a name.", "looks_like_an_id")


def _owner(tenant_id: UUID, provider: str) -> str:
    return f"{tenant_id}:{provider}"
