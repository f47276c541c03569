"""A tenant's endpoints: what may be one, how its secrets are made and rotated, and which events its end causes."""

from __future__ import annotations

import base64
import json
from functools import partial

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.utils import timezone
from pytest_django import Settings

from accounts import resealing, vault, webhooks
from accounts.models import Delivery, Endpoint, Event, EventType, Mode, Tenant
from accounts.net import public_addresses
from accounts.net.failures import BadAddress
from accounts.webhooks import delivery, endpoints, redelivery
from tests.racing import at_once

URL = "https://alice.example/hooks"
OTHER = "https://alice.example/other"


def test_a_secret_is_32_random_bytes_in_the_form_of_standard_webhooks(alice: Tenant) -> None:
    _, first = endpoints.create(alice, Mode.LIVE, url=URL)
    _, second = endpoints.create(alice, Mode.LIVE, url=OTHER)
    assert first.startswith("whsec_")
    assert len(base64.b64decode(first.removeprefix("whsec_"), validate=True)) == 32
    assert first != second


def test_a_secret_is_sealed_for_its_endpoint_alone(alice: Tenant) -> None:
    endpoint, secret = endpoints.create(alice, Mode.LIVE, url=URL)
    other, _ = endpoints.create(alice, Mode.LIVE, url=OTHER)
    assert endpoints.secrets_of(endpoint, at=timezone.now()) == [secret]
    assert secret.encode() not in bytes(endpoint.sealed)
    other.sealed = endpoint.sealed
    with pytest.raises(vault.Unopenable):
        endpoints.secrets_of(other, at=timezone.now())


@pytest.mark.parametrize("url", ["ftp://alice.example", "https://user:word@alice.example", "https://2130706433/", "x"])
def test_an_address_that_cannot_be_asked_is_refused(alice: Tenant, url: str) -> None:
    with pytest.raises(BadAddress):
        endpoints.create(alice, Mode.LIVE, url=url)
    endpoint, _ = endpoints.create(alice, Mode.LIVE, url=URL)
    with pytest.raises(BadAddress):
        endpoints.change(endpoint, url=url)


def test_a_type_that_there_is_none_of_is_named(alice: Tenant) -> None:
    with pytest.raises(ValueError, match=r"search\.found"):
        endpoints.create(alice, Mode.LIVE, url=URL, events=["search.failed", "search.found"])


def test_a_change_keeps_the_fields_that_it_does_not_name(alice: Tenant) -> None:
    endpoint, secret = endpoints.create(alice, Mode.LIVE, url=URL, description="first", events=["search.failed"])
    endpoints.change(endpoint, description="second")
    assert (endpoint.url, endpoint.description, endpoint.events) == (URL, "second", ["search.failed"])
    endpoints.change(endpoint, events=[], url=OTHER)
    assert (endpoint.url, endpoint.description, endpoint.events) == (OTHER, "second", [])
    assert endpoints.secrets_of(endpoint, at=timezone.now()) == [secret]


@pytest.mark.django_db(transaction=True)
def test_concurrent_requests_create_no_more_than_the_most(alice: Tenant) -> None:
    def create(number: int) -> bool:
        try:
            endpoints.create(alice, Mode.LIVE, url=f"https://{number}.example/")
        except endpoints.TooManyEndpoints as refused:
            return "7 endpoints" not in str(refused)
        return True

    alice.most_endpoints = 7
    assert sum(at_once([partial(create, number) for number in range(50)])) == 7
    assert Endpoint.objects.for_tenant(alice).count() == 7
    endpoints.create(alice, Mode.TEST, url=URL)


@pytest.mark.django_db(transaction=True)
def test_at_one_host_there_are_few_however_it_is_spelled(alice: Tenant, bob: Tenant, settings: Settings) -> None:
    settings.WEBHOOK_TARGET_ENDPOINTS = 3
    spellings = (
        "https://alice.example/{}",
        "https://ALICE.example/{}",
        "http://alice.example/{}",
        "https://alice.example/?{}",
    )

    def create(number: int) -> bool:
        try:
            endpoints.create(alice, Mode.LIVE, url=spellings[number % 4].format(number))
        except endpoints.TooManyEndpoints as refused:
            return "3 endpoints of this mode are at alice.example," not in str(refused)
        return True

    assert sum(at_once([partial(create, number) for number in range(50)])) == 3
    elsewhere, _ = endpoints.create(alice, Mode.LIVE, url="https://other.example/")
    with pytest.raises(endpoints.TooManyEndpoints):
        endpoints.change(elsewhere, url="https://alice.example/last")
    endpoints.create(bob, Mode.LIVE, url=URL)


@pytest.mark.django_db(transaction=True)
def test_of_endpoints_made_at_once_at_one_address_one_is_made(alice: Tenant, bob: Tenant) -> None:
    def create() -> bool:
        try:
            endpoints.create(alice, Mode.LIVE, url=URL)
        except endpoints.Repeated:
            return False
        return True

    assert sum(at_once([create] * 6)) == 1
    endpoints.create(alice, Mode.TEST, url=URL)
    endpoints.create(bob, Mode.LIVE, url=URL)


def test_an_endpoint_is_not_moved_to_where_another_is_but_may_stay_where_it_is(alice: Tenant) -> None:
    endpoints.create(alice, Mode.LIVE, url=URL)
    endpoint, _ = endpoints.create(alice, Mode.LIVE, url=OTHER)
    with pytest.raises(endpoints.Repeated):
        endpoints.change(endpoint, url=URL, description="new")
    endpoints.change(endpoint, url=OTHER)
    assert (endpoint.url, endpoint.description) == (OTHER, "")


def test_what_an_address_did_is_forgotten_when_the_endpoint_moves_and_not_when_it_stays(alice: Tenant) -> None:
    endpoint, _ = endpoints.create(alice, Mode.LIVE, url=URL)
    since = timezone.now()
    Endpoint.objects.update(failing_since=since, quiet_until=since, slow=False)
    endpoints.change(endpoint, url=URL)
    assert (endpoint.failing_since, endpoint.quiet_until, endpoint.slow) == (since, since, False)
    endpoints.change(endpoint, url=OTHER)
    assert (endpoint.failing_since, endpoint.quiet_until, endpoint.slow) == (None, None, True)


# Rotation


def test_both_secrets_sign_for_a_day_after_a_rotation(alice: Tenant) -> None:
    endpoint, first = endpoints.create(alice, Mode.LIVE, url=URL)
    second = endpoints.rotate(endpoint)
    now = timezone.now()
    assert endpoints.secrets_of(endpoint, at=now) == [second, first]
    assert endpoint.previous_until is not None
    age = endpoint.previous_until - endpoint.updated_at
    assert age == endpoints.OVERLAP
    assert endpoints.secrets_of(endpoint, at=endpoint.previous_until) == [second]


def test_of_two_rotations_the_last_two_secrets_sign(alice: Tenant) -> None:
    endpoint, _ = endpoints.create(alice, Mode.LIVE, url=URL)
    second, third = endpoints.rotate(endpoint), endpoints.rotate(endpoint)
    assert endpoints.secrets_of(endpoint, at=timezone.now()) == [third, second]


def test_every_secret_moves_to_the_first_of_the_sealing_keys(alice: Tenant, settings: Settings) -> None:
    old, new = (f"{name}:{base64.b64encode(bytes([number] * 32)).decode()}" for name, number in (("a", 1), ("b", 2)))
    settings.CREDENTIAL_KEYS = old
    plain, first = endpoints.create(alice, Mode.LIVE, url=URL)
    rotated, before = endpoints.create(alice, Mode.LIVE, url=OTHER)
    after = endpoints.rotate(rotated)
    settings.CREDENTIAL_KEYS = f"{new},{old}"
    done = endpoints.reseal()
    assert (done.moved, done.current, done.unopenable) == (3, 0, [])
    assert endpoints.reseal().current == 3
    settings.CREDENTIAL_KEYS = new
    plain.refresh_from_db()
    rotated.refresh_from_db()
    assert endpoints.secrets_of(plain, at=timezone.now()) == [first]
    assert endpoints.secrets_of(rotated, at=timezone.now()) == [after, before]


def test_a_secret_that_is_rotated_while_it_is_resealed_moves_in_both_places(alice: Tenant, settings: Settings) -> None:
    old, new = (f"{name}:{base64.b64encode(bytes([number] * 32)).decode()}" for name, number in (("a", 1), ("b", 2)))
    settings.CREDENTIAL_KEYS = old
    endpoint, before = endpoints.create(alice, Mode.LIVE, url=URL)
    settings.CREDENTIAL_KEYS = f"{new},{old}"
    after: list[str] = []

    def owner_of(row: Endpoint) -> str:
        if not after:
            after.append(endpoints.rotate(Endpoint.objects.get(pk=row.pk)))
        return endpoints._owner(row)

    resealing.reseal(Endpoint.objects.select_related("tenant"), endpoints.SEALED, owner_of)
    settings.CREDENTIAL_KEYS = new
    endpoint.refresh_from_db()
    assert endpoints.secrets_of(endpoint, at=timezone.now()) == [after[0], before]


def test_an_endpoint_whose_secret_no_key_opens_is_skipped_and_reported(alice: Tenant, settings: Settings) -> None:
    endpoint, _ = endpoints.create(alice, Mode.LIVE, url=URL)
    settings.CREDENTIAL_KEYS = f"b:{base64.b64encode(bytes(32)).decode()}"
    assert endpoints.reseal().unopenable == [endpoint]


# Disabled


def test_the_other_endpoints_of_the_mode_get_an_event_when_one_is_disabled(alice: Tenant, bob: Tenant) -> None:
    endpoint, _ = endpoints.create(alice, Mode.LIVE, url=URL, description="the old one")
    other, _ = endpoints.create(alice, Mode.LIVE, url=OTHER)
    endpoints.create(alice, Mode.TEST, url=URL)
    endpoints.create(bob, Mode.LIVE, url=URL)
    assert endpoints.disable(endpoint, "410 Gone")
    assert Delivery.objects.get().endpoint == other
    told = json.loads(Event.objects.get().body)
    assert told["type"] == "endpoint.disabled"
    said = {"id": str(endpoint.pk), "url": URL, "description": "the old one", "reason": "410 Gone"}
    assert told["data"] == said


def test_one_that_was_disabled_before_is_not_announced_again(alice: Tenant) -> None:
    endpoint, _ = endpoints.create(alice, Mode.LIVE, url=URL)
    endpoints.create(alice, Mode.LIVE, url=OTHER)
    endpoints.disable(endpoint, "410 Gone")
    assert not endpoints.disable(endpoint, "failed for 5 days")
    assert (endpoint.disabled_reason, Event.objects.count()) == ("410 Gone", 1)


def test_what_the_tenant_disables_itself_is_not_announced(alice: Tenant) -> None:
    endpoint, _ = endpoints.create(alice, Mode.LIVE, url=URL)
    endpoints.create(alice, Mode.LIVE, url=OTHER)
    endpoints.change(endpoint, enabled=False)
    assert (endpoint.enabled, endpoint.disabled_reason) == (False, "by you")
    assert not Event.objects.exists()


def test_an_endpoint_that_is_enabled_again_is_thought_well_of(alice: Tenant) -> None:
    endpoint, _ = endpoints.create(alice, Mode.LIVE, url=URL)
    Endpoint.objects.update(failing_since="2026-01-01T00:00Z", quiet_until="2026-12-01T00:00Z")
    endpoints.disable(endpoint, "failed for 5 days")
    endpoints.change(endpoint, enabled=True)
    assert (endpoint.enabled, endpoint.disabled_reason) == (True, "")
    assert (endpoint.failing_since, endpoint.quiet_until) == (None, None)


@pytest.mark.parametrize("slow", [True, False])
def test_enabling_an_endpoint_does_not_make_it_quick(alice: Tenant, slow: bool) -> None:
    endpoint, _ = endpoints.create(alice, Mode.LIVE, url=URL)
    assert endpoint.slow
    Endpoint.objects.update(slow=slow)
    endpoints.change(endpoint, enabled=False)
    endpoints.change(endpoint, enabled=True)
    assert endpoint.slow is slow


def test_what_an_operator_disabled_an_operator_enables(alice: Tenant) -> None:
    endpoint, _ = endpoints.create(alice, Mode.LIVE, url=URL)
    endpoints.disable(endpoint, endpoints.BY_OPERATOR)
    endpoints.change(endpoint, enabled=False)
    with pytest.raises(endpoints.HeldByOperator):
        endpoints.change(endpoint, enabled=True, description="new")
    endpoint.refresh_from_db()
    assert (endpoint.enabled, endpoint.description) == (False, "")
    endpoints.enable(endpoint)
    assert endpoint.enabled


def test_a_deleted_endpoint_is_not_found_and_makes_room_for_another(alice: Tenant) -> None:
    endpoint, _ = endpoints.create(alice, Mode.LIVE, url=URL)
    redelivery.ping(endpoint)
    endpoints.remove(endpoint)
    assert not Endpoint.objects.exists()
    webhooks.record(alice.pk, Mode.LIVE, EventType.SEARCH_FAILED, {"id": 7})
    assert [event.type for event in Event.objects.all()] == [EventType.PING]
    assert delivery.claim(most=9, most_slow=9) == []
    for change in (
        lambda: endpoints.change(endpoint, enabled=True),
        lambda: endpoints.rotate(endpoint),
        lambda: redelivery.ping(endpoint),
    ):
        with pytest.raises(Endpoint.DoesNotExist):
            change()
    endpoints.create(alice, Mode.LIVE, url=URL)


def test_a_disabled_endpoint_says_why(alice: Tenant) -> None:
    endpoint, _ = endpoints.create(alice, Mode.LIVE, url=URL)
    endpoint.enabled = False
    with pytest.raises(ValidationError):
        endpoint.validate_constraints()
    with pytest.raises(IntegrityError, match="disabled_endpoints_say_why"), transaction.atomic():
        endpoint.save()


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://Alice.EXAMPLE:8443/a?b=c", "alice.example"),
        ("http://bücher.example", "xn--bcher-kva.example"),
        ("http://93.184.216.34:80/", "93.184.216.34"),
        ("http://[2606:2800:0220:0001:0248:1893:25c8:1946]/", "2606:2800:220:1:248:1893:25c8:1946"),
        ("http://[::ffff:93.184.216.34]/", "93.184.216.34"),
    ],
)
def test_a_host_is_one_however_its_address_is_spelled(url: str, target: str) -> None:
    assert public_addresses.host_of(public_addresses.parse(url)) == target
