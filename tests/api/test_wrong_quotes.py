"""A quote of a wrong body, or on a bad day, is answered as a submit is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.utils import timezone
from rest_framework.test import APIClient

from accounts.models import Tenant
from billing.models import Price
from providers.models import Credential
from searches.models import Search
from tests.api.examples import create, lookup, made, order
from tests.api.quoting import quote, quoted, without_id
from tests.api.test_bad_input import WRONG
from tests.api.test_quotes import encoded
from tests.searches import samples


@pytest.mark.parametrize(("changes", "field"), WRONG)
def test_a_wrong_body_is_answered_as_by_a_submit(api: APIClient, changes: dict[str, Any], field: str) -> None:
    status, problem = without_id(quote(api, **changes))
    assert (status, problem) == without_id(create(api, **changes))
    assert status in (400, 413)


def without_a_credential(client: APIClient) -> dict[str, Any]:
    Credential.objects.all().delete()
    return {}


def past_the_pictures(client: APIClient) -> dict[str, Any]:
    Tenant.objects.update(most_images=0)
    return {}


def past_the_pictures_bytes(client: APIClient) -> dict[str, Any]:
    Tenant.objects.update(most_image_bytes=1)
    return {}


def past_the_searches(client: APIClient) -> dict[str, Any]:
    Tenant.objects.update(most_searches=0)
    return {}


def past_the_backlog(client: APIClient) -> dict[str, Any]:
    made(client)
    Tenant.objects.update(most_waiting_lookups=2)
    return {"lookups": [lookup()] * 2}


def a_text_for_a_picture(client: APIClient) -> dict[str, Any]:
    return {"image": encoded(samples.TEXT)}


def a_text_where_a_price_is_missing(client: APIClient) -> dict[str, Any]:
    Price.objects.all().delete()
    return {"image": encoded(samples.TEXT)}


def a_crop_of_no_pixel(client: APIClient) -> dict[str, Any]:
    id = str(samples.image_of(made(client)).pk)
    return {"image": {"id": id}, "crop": {"x": 0, "y": 0, "width": 0.001, "height": 0.001}}


def a_suspended_tenant(client: APIClient) -> dict[str, Any]:
    Tenant.objects.update(suspended_at=timezone.now())
    return {}


BAD_DAYS: list[tuple[Callable[[APIClient], dict[str, Any]], int]] = [
    (without_a_credential, 409),
    (past_the_pictures, 409),
    (past_the_pictures_bytes, 409),
    (past_the_searches, 409),
    (past_the_backlog, 429),
    (a_text_for_a_picture, 400),
    (a_text_where_a_price_is_missing, 400),
    (a_crop_of_no_pixel, 400),
    (a_suspended_tenant, 403),
]


@pytest.mark.parametrize(("bad_day", "status"), BAD_DAYS)
def test_a_bad_day_is_answered_as_by_a_submit(
    api: APIClient, bad_day: Callable[[APIClient], dict[str, Any]], status: int
) -> None:
    changes = bad_day(api)
    answered = without_id(quote(api, **changes))
    assert answered[0] == status
    assert answered == without_id(create(api, **changes))


def test_credits_come_before_the_bounds_as_in_a_submit(api: APIClient) -> None:
    Tenant.objects.update(most_waiting_lookups=0, most_images=0)
    assert quoted(api, max_credits={"modash": "0"})["error"]["code"] == "max_credits_too_low"
    assert create(api, max_credits={"modash": "0"}).json()["code"] == "max_credits_too_low"


def test_another_tenants_picture_is_not_there(api: APIClient, stranger: APIClient) -> None:
    image = {"id": str(samples.image_of(made(api)).pk)}
    assert without_id(quote(stranger, image=image)) == without_id(create(stranger, image=image))
    assert quote(stranger, image=image).json()["errors"][0]["field"] == "image.id"


def test_a_query_and_another_method_are_refused(api: APIClient) -> None:
    path = "/v1/searches/quote"
    assert api.post(f"{path}?wait=1", order(), format="json").status_code == 400
    assert api.get(path).status_code == 405
    assert not Search.objects.exists()
