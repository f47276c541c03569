"""Sets up a tenant with all its parts in one transaction: API keys, provider keys, caps, first grants, and an endpoint.

Each part is made by the module that owns it. If one refuses, nothing is stored, and `PartRefused` names the field of the form.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.db import transaction

from accounts import keys
from accounts.models import Endpoint, Mode, Tenant
from accounts.net import public_addresses
from accounts.net.failures import OutboundFailure
from accounts.webhooks import endpoints
from billing import alerts, ledger
from billing.models import TenantCap
from billing.serializers import credits_text
from providers.keyring import credentials, sealing
from providers.models import Credential

# The exceptions by which the owners of the parts refuse. Each has a sentence for the operator, and none quotes a secret.
REFUSALS = (
    *(keys.TooManyApiKeys, credentials.TooManyCredentials, sealing.BadSecret, credentials.BadLabel),
    *(endpoints.TooManyEndpoints, OutboundFailure, ValueError),
)


class PartRefused(Exception):
    """A part cannot be made. `field` names what was entered for it, and the message says what to do."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, kw_only=True)
class ProviderTerms:
    """Holds the terms of a new tenant at one provider. Without a grant the account is metered, without a cap unbounded."""

    secret: str = field(default="", repr=False)
    cap: Decimal | None = None
    grant: Decimal | None = None


@dataclass(frozen=True, kw_only=True)
class TenantPlan:
    """A tenant that is not saved yet, and its parts. `person`: the operator, as the ledger keeps it."""

    tenant: Tenant
    person: str
    modes: Sequence[Mode] = ()
    providers: Mapping[str, ProviderTerms] = field(default_factory=dict)
    memo: str = ""
    endpoint_url: str = ""
    endpoint_mode: str = Mode.LIVE

    def described(self) -> str:
        """Returns what the tenant begins with, for the log of acts, without a secret."""
        parts = [f"weight {self.tenant.weight}", *(f"a {mode} API key" for mode in self.modes)]
        for provider, terms in sorted(self.providers.items()):
            parts += [f"a {provider} key"] if terms.secret else []
            parts += [f"a cap of {credits_text(terms.cap)} {provider} credits a month"] if terms.cap is not None else []
            parts += [f"{credits_text(terms.grant)} {provider} credits"] if terms.grant is not None else []
        parts += [f"an endpoint at {self.endpoint_url}"] if self.endpoint_url else []
        return f"With {', '.join(parts)}."


@dataclass(frozen=True, kw_only=True)
class NewTenant:
    """A tenant that was made, with the secrets that cannot be shown again."""

    tenant: Tenant
    api_keys: dict[str, str] = field(repr=False)
    credentials: list[Credential]
    endpoint: Endpoint | None
    endpoint_secret: str = field(repr=False)


@transaction.atomic
def create(plan: TenantPlan) -> NewTenant:
    """Makes the tenant and its parts, all or none. Raises `PartRefused`."""
    tenant = plan.tenant
    tenant.save(force_insert=True)
    made = NewTenant(
        tenant=tenant,
        api_keys={mode.value: _api_key(tenant, mode) for mode in plan.modes},
        credentials=[
            _credential(plan, provider) for provider in sorted(plan.providers) if plan.providers[provider].secret
        ],
        **_endpoint(plan),
    )
    # Credit accounts are locked last, in the order of their providers.
    for provider in sorted(plan.providers):
        _open_account(plan, provider)
    return made


@contextmanager
def _naming(field: str) -> Iterator[None]:
    try:
        yield
    except OutboundFailure as failure:
        raise PartRefused(field, failure.detail) from None
    except REFUSALS as error:
        raise PartRefused(field, str(error).removeprefix("amount: ")) from None


def _api_key(tenant: Tenant, mode: Mode) -> str:
    with _naming(f"{mode}_key"):
        return keys.issue(tenant, mode)[1]


def _credential(plan: TenantPlan, provider: str) -> Credential:
    with _naming(f"{provider}_key"):
        return credentials.store(plan.tenant, provider, plan.providers[provider].secret)


def _endpoint(plan: TenantPlan) -> dict[str, Any]:
    if not plan.endpoint_url:
        return {"endpoint": None, "endpoint_secret": ""}
    with _naming("endpoint_url"):
        public_addresses.check(plan.endpoint_url)
        endpoint, secret = endpoints.create(plan.tenant, plan.endpoint_mode, url=plan.endpoint_url)
    return {"endpoint": endpoint, "endpoint_secret": secret}


def _open_account(plan: TenantPlan, provider: str) -> None:
    terms = plan.providers[provider]
    if terms.cap is None and terms.grant is None:
        return
    account = ledger.account_of(plan.tenant, provider)
    if terms.cap is not None:
        TenantCap.objects.create(tenant=plan.tenant, provider=provider, amount=terms.cap)
        alerts.cap_changed(account)
    if terms.grant is not None:
        with _naming(f"{provider}_grant"):
            ledger.grant(account, terms.grant, memo=plan.memo, person=plan.person)
