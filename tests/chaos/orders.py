"""Decides by the seed what the tenants order, and places the orders, whatever is down.

A caller whose answer was lost cannot know whether its order was accepted. It sends the order again
with the same `Idempotency-Key`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

import httpx

from tests.chaos.cast import CAST
from tests.searches.samples import jpeg

AT_ONCE = 8
# An order that is not accepted for so many seconds is lost.
PATIENCE_SECONDS = 90.0
PAUSE_SECONDS = 0.5

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Order:
    """Describes one order. `at`: seconds after the start. `repeats`: whether an equal one may answer it. `canceled_after`:
    seconds after it was accepted; `erased_after`: seconds after that; None for never.
    """

    number: int
    tenant: str
    at: float
    lookups: Sequence[dict[str, Any]]
    repeats: bool
    priority: int
    expires_in: int
    canceled_after: float | None
    erased_after: float | None


def made_up(random: Random, *, count: int, tenants: Sequence[str], seconds: float) -> list[Order]:
    """Returns so many orders over so many seconds. Each tenant has some; one in four repeats an earlier one of its tenant."""
    wanted = [*tenants, *random.choices(tenants, [CAST[name][1] for name in tenants], k=count - len(tenants))]
    random.shuffle(wanted)
    asked: dict[str, list[Sequence[dict[str, Any]]]] = {name: [] for name in tenants}
    orders = []
    for number, tenant in enumerate(wanted):
        before = asked[tenant]
        lookups = random.choice(before) if before and random.random() < 0.25 else _lookups(random, number)
        before.append(lookups)
        orders.append(
            Order(
                number=number,
                tenant=tenant,
                at=seconds * number / count,
                lookups=lookups,
                repeats=random.random() < 0.4,
                priority=random.choice((-10, 0, 0, 0, 3, 10)),
                expires_in=random.choice((1, 2, 5)) if random.random() < 0.1 else 3600,
                canceled_after=random.uniform(0, 3) if random.random() < 0.1 else None,
                erased_after=random.uniform(0, 10) if random.random() < 0.1 else None,
            )
        )
    return orders


def _lookups(random: Random, number: int) -> list[dict[str, Any]]:
    """Returns lookups of one to three sources, different for each order; creators have up to three pages."""
    similarity = 0.5 + number / 10_000
    parts: list[dict[str, Any]] = [
        {
            "source": "tiktok-creators",
            "limit": random.choice((5, 5, 10, 15)),
            "parameters": {"followers_count": {"min": number}},
        },
        {"source": "tiktok-products", "parameters": {"product_name": f"mug {number}"}},
        {"source": "public-videos", "parameters": {"similarity": similarity}},
        {"source": "private-videos", "parameters": {"similarity": similarity}},
    ]
    return random.sample(parts, random.choice((1, 1, 2, 3)))


class Caller:
    """Plays one tenant's program."""

    def __init__(self, url: str, secret: str) -> None:
        self._client = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {secret}"}, timeout=30)
        self._image = ""

    def store_picture(self) -> None:
        answer = self._client.post("/v1/images", files={"image": ("mug.jpg", jpeg(), "image/jpeg")})
        self._image = answer.raise_for_status().json()["id"]

    def ask_to_be_told(self, url: str) -> None:
        answer = self._client.post("/v1/webhook-endpoints", json={"url": url})
        assert answer.is_success, answer.text

    def submit(self, order: Order) -> None:
        """Sends the order until it is accepted; then cancels and erases it if that is wanted."""
        body = {
            "lookups": order.lookups,
            "priority": order.priority,
            "expires_in": order.expires_in,
            "metadata": {"number": str(order.number)},
            **({} if order.repeats else {"max_age": 0}),
        }
        search = self._until_done(lambda: self._created(body))
        if order.canceled_after is not None:
            time.sleep(order.canceled_after)
            self._until_done(lambda: self._answer("POST", f"/v1/searches/{search}/cancel"))
        if order.erased_after is not None:
            time.sleep(order.erased_after)
            self._until_done(lambda: self._erased(search))

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def _created(self, body: dict[str, Any]) -> str | None:
        key = {"Idempotency-Key": f"order {body['metadata']['number']}"}
        answer = self._client.post("/v1/searches", json={"image": {"id": self._image}, **body}, headers=key)
        if answer.status_code in (400, 409) and _tells_of_a_picture_that_went(answer.json()):
            self.store_picture()
            return None
        in_use = answer.status_code == 409 and answer.json()["code"] == "idempotency_key_in_use"
        assert answer.is_success or answer.status_code == 503 or in_use, answer.text
        return answer.json()["id"] if answer.is_success else None

    def _erased(self, search: str) -> bool:
        """Returns whether the search is not found, because it was erased by a request whose answer was lost."""
        answer = self._client.delete(f"/v1/searches/{search}")
        assert answer.status_code in (204, 404, 503), answer.text
        return answer.status_code != 503

    def _answer(self, method: str, path: str, **body: Any) -> httpx.Response | None:
        """Returns the answer; None if the server is not ready. Any other failure is a mistake."""
        answer = self._client.request(method, path, **body)
        assert answer.is_success or answer.status_code == 503, answer.text
        return answer if answer.is_success else None

    def _until_done(self, attempt: Callable[[], T | None]) -> T:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                if done := attempt():
                    return done
            except (httpx.TransportError, httpx.HTTPStatusError) as error:
                trouble: object = error
            else:
                trouble = "503"
            assert time.monotonic() < deadline, trouble
            time.sleep(PAUSE_SECONDS)


def _tells_of_a_picture_that_went(problem: dict[str, Any]) -> bool:
    """Returns whether the answer says that the picture was erased with the last search that named it."""
    errors = [(error["field"], error["code"]) for error in problem.get("errors", [])]
    return problem["code"] == "image_deleted" or errors == [("image.id", "does_not_exist")]


def submit_all(orders: Sequence[Order], callers: dict[str, Caller]) -> None:
    """Submits each order at its time, or as soon as the earlier ones are accepted."""
    began = time.monotonic()

    def submit(order: Order) -> None:
        time.sleep(max(0.0, began + order.at - time.monotonic()))
        callers[order.tenant].submit(order)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(submit, orders))
