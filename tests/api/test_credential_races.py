"""A credential is deleted in the very instant in which a search is submitted with it: both end in plain words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Thread
from typing import Any

import pytest
from django.db import connection
from rest_framework.test import APIClient

from accounts.models import ApiKey
from accounts.web.exceptions import Conflict
from providers.keyring import credentials
from providers.models import Credential
from searches import pictures
from searches.api.exceptions import translate_domain_errors
from searches.models import Image, Lookup, Search
from searches.orders import submission
from searches.orders.order import LookupOrder, Order
from tests.api.examples import made
from tests.searches import samples

pytestmark = pytest.mark.django_db(transaction=True)


@dataclass(kw_only=True)
class SlowPicture(pictures.Draft):
    """A stored picture; something happens while the submit first waits for it."""

    meanwhile: Callable[[], None]

    def wait(self) -> None:
        meanwhile, self.meanwhile = self.meanwhile, lambda: None
        meanwhile()


def submit(image: Image, meanwhile: Callable[[], None]) -> None:
    order = Order(lookups=[LookupOrder(source="tiktok-creators", parameters={}, limit=20)])
    with translate_domain_errors():
        submission.submit(ApiKey.objects.get(), order, SlowPicture(image=image, stored=True, meanwhile=meanwhile))


def submit_and_leave(image: Image) -> None:
    submit(image, lambda: None)
    connection.close()


def test_a_search_whose_credential_goes_meanwhile_is_a_409_and_leaves_nothing(api: APIClient) -> None:
    image = samples.image_of(made(api))
    with pytest.raises(Conflict) as refusal:
        submit(image, lambda: credentials.remove(Credential.objects.get()))
    assert refusal.value.get_codes() == "credential_missing"
    assert Search.objects.count() == 1


def test_a_search_that_comes_between_does_not_keep_its_credential(api: APIClient) -> None:
    image = samples.image_of(made(api))
    come: list[bool] = []

    def come_between(execute: Callable[..., Any], sql: str, *rest: Any) -> Any:
        if sql.startswith('DELETE FROM "providers_credential"') and not come:
            come.append(True)
            thread = Thread(target=submit_and_leave, args=(image,))
            thread.start()
            thread.join()
        return execute(sql, *rest)

    with connection.execute_wrapper(come_between):
        credentials.remove(Credential.objects.get())
    assert come
    assert list(Lookup.objects.values_list("credential", flat=True)) == [None, None]
    assert not Credential.objects.exists()
