"""An operator, and one row of every model, made by the modules that make them where they do."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from django.contrib.auth.models import Group
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db.models import Model
from django.test import Client
from django.utils import timezone
from PIL import Image as Picture
from uuid_utils.compat import uuid7

from accounts import acts, keys
from accounts.acts import Actor
from accounts.models import ApiKey, Attempt, BulkAct, Delivery, Endpoint, Mode, Tenant, User
from accounts.webhooks import endpoints, redelivery
from billing import ledger
from billing.models import (
    Account,
    Entry,
    Hold,
    KeyCap,
    LedgerAudit,
    Price,
    Reading,
    Reconciliation,
    Statement,
    TenantCap,
    ThresholdAlert,
    Usage,
)
from providers import policies
from providers.keyring import credentials
from providers.models import Credential
from searches import pictures
from searches.models import Call, Image, Lookup, Rendering, Result, Search, TenantQueue
from searches.orders import submission
from searches.orders.order import LookupOrder, Order
from tests.billing.months import end_month

PROVIDER = "modash"
SOURCE = "tiktok-creators"
SECRET = "marker-of-a-provider-key-7f3a"


@dataclass(frozen=True)
class World:
    """A tenant and its rows."""

    tenant: Tenant
    key: ApiKey
    key_secret: str
    credential: Credential
    account: Account
    image: Image
    search: Search
    lookup: Lookup
    call: Call
    result: Result
    endpoint: Endpoint
    endpoint_secret: str
    delivery: Delivery
    rows: dict[type[Model], Model]


@pytest.fixture
def operator(db: None) -> User:
    return User.objects.create(username="olive", is_staff=True, is_superuser=True)


@pytest.fixture
def desk(operator: User) -> Client:
    client = Client()
    client.force_login(operator)
    return client


@pytest.fixture
def world(operator: User) -> World:
    return build("Alice and Sons")


def build(name: str) -> World:
    tenant = Tenant.objects.create(name=name, max_age=0)
    key, key_secret = keys.issue(tenant, Mode.LIVE, "shop")
    credential = credentials.store(tenant, PROVIDER, f"{SECRET}-{name.split()[0]}")
    account = ledger.account_of(tenant, PROVIDER)
    ledger.grant(account, Decimal(100), memo="welcome")
    image = picture(tenant)
    order = Order(lookups=[LookupOrder(source=SOURCE, parameters={}, limit=40)])
    search = submission.submit(key, order, pictures.Draft(image=image, stored=True)).search
    lookup = search.lookups.get()
    call = called(lookup)
    result = found(lookup)
    endpoint, endpoint_secret = endpoints.create(tenant, Mode.LIVE, url="https://shop.example/hooks")
    delivery = sent(endpoint)
    rows = [tenant, key, credential, account, image, search, lookup, call, result, lookup.lane]
    rows += [policies.of(PROVIDER), Group.objects.create(name=f"{name}'s operators"), User.objects.latest("pk")]
    rows += [
        Rendering.objects.get(image=image),
        TenantQueue.objects.get(tenant=tenant),
        Hold.objects.get(account=account),
    ]
    rows += capped_and_used(account, key)
    rows += [endpoint, delivery.event, delivery]
    rows += [Entry.objects.filter(account=account).latest("pk"), Price.objects.get(source=SOURCE)]
    rows.append(reconciled(credential))
    end_month(account)
    rows.append(Statement.objects.get(account=account))
    rows.append(
        BulkAct.objects.create(
            operator=User.objects.latest("pk"),
            name="olive",
            kind="cancel",
            reason="why",
            object_type="searches.lookup",
            filter="status: queued",
            moment=timezone.now(),
            newest=str(lookup.pk),
            matched=1,
            done=1,
            state="ended",
            finished_at=timezone.now(),
        )
    )
    rows.append(acts.record(Actor(name="olive", operator=User.objects.latest("pk")), acts.CHANGE, tenant, reason="why"))
    return World(
        tenant=tenant,
        key=key,
        key_secret=key_secret,
        credential=credential,
        account=account,
        image=image,
        search=search,
        lookup=lookup,
        call=call,
        result=result,
        endpoint=endpoint,
        endpoint_secret=endpoint_secret,
        delivery=delivery,
        rows={type(row): row for row in rows},
    )


def capped_and_used(account: Account, key: ApiKey) -> list[Any]:
    """Makes both kinds of caps, an alert, and a day's usage."""
    spent = {
        "day": date(2026, 11, 1),
        "source": SOURCE,
        "api_key": str(key.pk),
        "charged": Decimal("2.5"),
        "charges": 5,
    }
    return [
        TenantCap.objects.create(tenant=account.tenant, provider=PROVIDER, amount=Decimal(1000)),
        KeyCap.objects.create(api_key=key, provider=PROVIDER, amount=Decimal(500)),
        alerted(account, key),
        Usage.objects.create(account=account, **spent),
        LedgerAudit.objects.get_or_create(day=date(2026, 11, 1), defaults={"finished_at": timezone.now()})[0],
    ]


def reconciled(credential: Credential, state: str = "unexplained") -> Reconciliation:
    """Makes two readings and their comparison."""
    moment = timezone.now() - timedelta(hours=1)
    opening, closing = (
        Reading.objects.create(
            credential=credential,
            # Of another key: what the tests read themselves is compared with nothing.
            key_fingerprint="",
            asked_at=moment,
            answered_at=moment,
            credits=credits,
        )
        for credits in (Decimal(100), Decimal(98))
    )
    nothing = dict.fromkeys(
        ("overbilled", "overlapping", "unknown", "own_overbilled", "own_overlapping", "own_unknown"), Decimal(0)
    )
    return Reconciliation.objects.create(
        tenant=credential.tenant,
        provider=credential.provider,
        key_label=credential.label,
        credential=credential,
        opening=opening,
        closing=closing,
        state=state,
        counted=Decimal(2),
        calls=1,
        billed=Decimal("0.5"),
        own_calls=1,
        own_billed=Decimal("0.5"),
        drift=Decimal("1.5"),
        **nothing,
    )


def alerted(account: Account, key: ApiKey) -> ThresholdAlert:
    """Makes the alert of a key that has used half of its cap."""
    return ThresholdAlert.objects.create(
        account=account,
        limit=ThresholdAlert.Limit.KEY_CAP,
        spender=key.pk,
        period_start=timezone.now(),
        share=50,
        size=Decimal(500),
        used=Decimal(250),
        held=Decimal(1),
        announced=True,
    )


def picture(tenant: Tenant) -> Image:
    content = BytesIO()
    shades = Picture.linear_gradient("L")
    Picture.merge("RGB", (shades, shades.rotate(90), shades.rotate(180))).resize((640, 480)).save(content, "JPEG")
    digest = f"{tenant.pk.int:064x}"
    name = default_storage.save(f"{tenant.pk}/picture.jpg", ContentFile(content.getvalue()))
    image = Image.objects.create(
        tenant=tenant,
        sha256=digest,
        pixels_sha256=digest,
        format="jpeg",
        width=640,
        height=480,
        bytes=len(content.getvalue()),
        file=name,
    )
    Rendering.objects.create(image=image, provider=PROVIDER, media_type="image/jpeg", bytes=image.bytes, file=name)
    return image


def called(lookup: Lookup) -> Call:
    moment = timezone.now()
    return Call.objects.create(
        lookup=lookup,
        page=0,
        state=Call.State.ANSWERED,
        armed_at=moment,
        leased_until=moment + timedelta(minutes=1),
        sent_at=moment,
        finished_at=moment + timedelta(milliseconds=830),
        status=200,
        returned=1,
        credits=Decimal("0.025"),
        provider_request_id=f"r-{uuid7()}",
    )


def sent(endpoint: Endpoint) -> Delivery:
    """Makes an event whose first attempt failed."""
    delivery = redelivery.ping(endpoint)
    Attempt.objects.create(
        delivery=delivery,
        number=1,
        started_at=timezone.now(),
        duration_ms=87,
        status=502,
        cause="bad_status",
        detail="The server answers 502 Bad Gateway.",
        answer="<b>Bad gateway</b>",
    )
    Delivery.objects.filter(pk=delivery.pk).update(attempt_count=1)
    return delivery


def found(lookup: Lookup, number: int = 1, **other: Any) -> Result:
    values: dict[str, Any] = {
        "title": f"Creator {number} of {lookup.tenant}",
        "url": f"https://www.tiktok.com/@creator{number}",
        "image_url": f"https://pictures.example/{number}.jpeg",
        "type": "creator",
        "external_id": f"{lookup.pk}-{number}",
        "detail": {"username": f"creator{number}", "followers_count": 12_000},
        "raw": {"userId": str(number), "followers": 12_000},
        "sequence": number,
    }
    return Result.objects.create(
        search=lookup.search, lookup=lookup, rank=number, observed_at=timezone.now(), **values | other
    )
