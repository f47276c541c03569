"""A search is erased while everything else happens to it: each race has one end, and the credits add up."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest
from django.db import transaction
from rest_framework.test import APIClient

from accounts.models import Mode, Tenant
from billing import audit, ledger
from billing.models import Hold
from providers import policies
from providers.contract import Answer, Hit
from providers.failures import Faulty, Lost, Refused
from providers.models import Policy
from searches.calls import outcomes, settlement
from searches.lanes import queue
from searches.lanes.queue import ClaimedLookup
from searches.lifecycle import erasure
from searches.models import Image, Lookup, Rendering, Result, Search, TenantQueue
from tests.api.background import background, until_somebody_waits_for_a_lock
from tests.api.examples import create, made, pictures_folder
from tests.api.test_read import path_of
from tests.conftest import ClientOf
from tests.patience import HANGS_AFTER_SECONDS
from tests.racing import at_once
from tests.searches.samples import image_of, rendering

pytestmark = pytest.mark.django_db(transaction=True)
FOUND = Answer(
    hits=tuple(Hit(type="creator", external_id=str(number), title="…", detail={}, raw={}) for number in range(4)),
    billed_results=4,
    last=True,
    status=200,
)
COST = 4 * Decimal("0.025")


@pytest.fixture(autouse=True)
def prepaid(alice: Tenant) -> None:
    ledger.grant(ledger.account_of(alice, "modash"), Decimal(1000))


def claim_next() -> ClaimedLookup:
    claimed = queue.claim("modash", policies.of("modash"), lease=timedelta(minutes=1))
    assert claimed is not None
    return claimed


def nothing_is_kept(search: Search) -> bool:
    search.refresh_from_db()
    return search.erased_at is not None and not search.results_count and not Result.objects.filter(search=search)


def spent(tenant: Tenant) -> tuple[Any, Any]:
    assert audit.differences() == []
    account = ledger.account_of(tenant, "modash")
    return 1000 - account.posted, account.held


def test_of_fifty_at_once_one_erases_it(api: APIClient, alice: Tenant) -> None:
    search = made(api)
    path = path_of(search)
    calls: list[Callable[[], Any]] = [
        lambda: api.delete(path),
        lambda: api.post(f"{path}/cancel"),
        lambda: api.get(path),
        lambda: api.get(f"{path}/results"),
        lambda: api.delete(path),
    ]
    answers = at_once([calls[number % 5] for number in range(50)])
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses[204] == 1
    assert set(statuses) <= {200, 204, 404}
    assert nothing_is_kept(search)
    assert spent(alice) == (0, 0)


# While what came of a call is settled


def test_an_answer_that_is_being_settled_goes_with_the_rest(api: APIClient, alice: Tenant) -> None:
    search = made(api)
    claimed = claim_next()
    with background() as start:
        with transaction.atomic():
            outcomes.answered(claimed, FOUND)
            erased = start(lambda: api.delete(path_of(search)))
            until_somebody_waits_for_a_lock()
        assert erased.result(HANGS_AFTER_SECONDS).status_code == 204
    assert nothing_is_kept(search)
    assert search.status == "succeeded"
    assert spent(alice) == (COST, 0)


@pytest.mark.parametrize(
    ("settle", "money"),
    [
        (lambda claimed: outcomes.answered(claimed, FOUND), (COST, 0)),
        (lambda claimed: settlement.unsent(claimed.call, claimed.lookup), (0, 0)),
        (lambda claimed: outcomes.failed(claimed, Policy.objects.get(), Refused("refused", "…")), (0, 0)),
        (lambda claimed: outcomes.failed(claimed, Policy.objects.get(), Lost("no_answer", "…")), (0, Decimal("0.5"))),
    ],
    ids=["answered", "never sent", "refused", "lost"],
)
def test_what_is_settled_after_it_was_erased_is_charged_alone(
    api: APIClient, alice: Tenant, settle: Callable[[ClaimedLookup], None], money: tuple[Decimal, Decimal]
) -> None:
    search = made(api)
    claimed = claim_next()
    with background() as start:
        with transaction.atomic():
            erasure.erase(search)
            settled = start(lambda: settle(claimed))
            until_somebody_waits_for_a_lock()
        settled.result(HANGS_AFTER_SECONDS)
    assert nothing_is_kept(search)
    assert search.status == "canceled"
    assert spent(alice) == money


def test_a_claim_that_comes_at_that_moment_finds_it_whole_or_not_at_all(api: APIClient, alice: Tenant) -> None:
    search = made(api)
    with background() as start:
        with transaction.atomic():
            erasure.erase(search)
            claim = start(lambda: queue.claim("modash", policies.of("modash"), lease=timedelta(minutes=1)))
            until_somebody_waits_for_a_lock()
        assert claim.result(HANGS_AFTER_SECONDS) is None
    assert spent(alice) == (0, 0)


# While a search with the same picture comes


def test_a_search_that_is_about_to_name_the_picture_keeps_it(api: APIClient, sandbox: APIClient) -> None:
    """Submits the other search in another lane, so that both lock only the picture's row in common."""
    search = made(api)
    image = image_of(search)
    with background() as start:
        with transaction.atomic():
            assert create(sandbox, image={"id": str(image.pk)}).status_code == 202
            erased = start(lambda: api.delete(path_of(search)))
            until_somebody_waits_for_a_lock()
        assert erased.result(HANGS_AFTER_SECONDS).status_code == 204
    assert rendering(image.pk, "modash").content


@pytest.mark.parametrize("by_id", [True, False])
@pytest.mark.parametrize("mode", Mode)
def test_a_search_that_comes_too_late_for_it_is_told_so(
    api: APIClient, alice: Tenant, client_of: ClientOf, by_id: bool, mode: Mode
) -> None:
    client = client_of(alice, mode)
    search = made(api)
    picture = {"image": {"id": str(search.image_id)}} if by_id else {}
    with background() as start:
        with transaction.atomic():
            erasure.erase(search)
            answer = start(lambda: create(client, **picture))
            until_somebody_waits_for_a_lock()
        response = answer.result(HANGS_AFTER_SECONDS)
    assert (response.status_code, response.json()["code"]) == (409, "image_deleted")
    assert not Search.objects.filter(erased_at=None).exists()
    assert not list(pictures_folder().rglob("*.*"))


def test_every_search_that_was_taken_has_its_picture(api: APIClient, alice: Tenant) -> None:
    for _ in range(6):
        searches = [made(api) for _ in range(2)]
        image = {"id": str(searches[0].image_id)}
        tasks: list[Callable[[], Any]] = [partial(api.delete, path_of(search)) for search in searches]
        tasks += [partial(create, api), partial(create, api, image=image)] * 3
        answers = at_once(tasks)
        assert {answer.status_code for answer in answers[2:]} <= {202, 400, 409}
        taken = [answer.json()["image"]["id"] for answer in answers[2:] if answer.status_code == 202]
        assert all(rendering(id, "modash").content for id in taken)
    named = {*Image.objects.values_list("file", flat=True), *Rendering.objects.values_list("file", flat=True)}
    assert {str(file.relative_to(pictures_folder())) for file in pictures_folder().rglob("*.*")} == named
    assert audit.differences() == []


# All of it


def settle(claimed: ClaimedLookup, policy: Policy) -> None:
    """Now and then twice: the second comes late, to a lookup that has ended."""
    match random.choice([FOUND, FOUND, None, Lost("no_answer", ""), Faulty("provider_error", "")]):
        case Answer() as answer:
            outcomes.answered(claimed, answer)
        case None:
            settlement.unsent(claimed.call, claimed.lookup)
        case failure:
            outcomes.failed(claimed, policy, failure)
    if random.random() < 0.3:
        outcomes.answered(claimed, FOUND)


def test_nobody_waits_in_a_circle(api: APIClient, alice: Tenant) -> None:
    """A deadlock would end one of them with an error."""
    searches = [made(api, lookups=[{"source": "tiktok-creators"}] * 3) for _ in range(10)]
    policy = policies.of("modash")

    def work() -> None:
        for _ in range(8):
            which = random.choice(searches)
            match random.randrange(8):
                case 0:
                    assert api.delete(path_of(which)).status_code in (204, 404)
                case 1:
                    assert api.post(path_of(which, "/cancel")).status_code in (200, 404)
                case 2:
                    assert create(api).status_code in (202, 409)
                case _:
                    with suppress(queue.Contended):
                        if claimed := queue.claim("modash", policy, lease=timedelta(minutes=1)):
                            settle(claimed, policy)

    at_once([work] * 20)
    for search in Search.objects.all():
        erasure.erase(search)
    assert not Result.objects.exists()
    assert not Image.objects.exists()
    assert not Lookup.objects.exclude(status__in=Lookup.ENDED).exists()
    assert not TenantQueue.objects.filter(ready__gt=0).exists()
    assert not Hold.objects.exclude(open=0).exists()
    assert audit.differences() == []
