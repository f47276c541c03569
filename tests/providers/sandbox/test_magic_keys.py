"""Tests the magic keys at every provider that the sandbox plays, through the adapters, over real sockets."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import httpx
import pytest

from providers import registry
from providers.failures import BadCredential, Exhausted, Failure, Faulty, Garbled, Lost, Throttled
from providers.sandbox.magic_keys import MAGIC, UNSTEADY, Behaviour, behaviour, mistyped
from providers.sandbox.meter import fingerprint
from providers.sandbox.played_provider import MOST_SLOW_ANSWERS
from providers.sandbox.settings import SandboxSettings
from tests.providers.asking import SOURCES, ask
from tests.providers.conftest import granian_sandbox, sandbox_site

every_source = pytest.mark.parametrize("source", SOURCES)
SLOW_SECONDS, HANG_SECONDS = 0.4, 2.5
# Longer than a slow answer takes, and shorter than one that hangs.
PATIENCE_SECONDS = 1.5


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """Yields the address of a sandbox that answers at once."""
    slow, hang = int(SLOW_SECONDS * 1000), int(HANG_SECONDS * 1000)
    with granian_sandbox(calls=1_000_000, latency_ms=0, slow_ms=slow, hang_ms=hang) as url:
        yield url


def outcome(source: str, url: str, key: str) -> str:
    """Returns the name of the failure that one call raised, or "Answer"."""
    try:
        ask(source, url, key, seconds=PATIENCE_SECONDS)
    except Failure as failure:
        return type(failure).__name__
    return "Answer"


def outcomes(source: str, url: str, key: str, *, calls: int) -> list[str]:
    return [outcome(source, url, f"{key}_{source}") for _ in range(calls)]


def tally(source: str, url: str, key: str) -> dict[str, Any]:
    keys = httpx.get(f"{url}/_stats").json()[registry.adapter(source).provider]["keys"]
    counted: dict[str, Any] = keys[fingerprint(f"{key}_{source}")]
    return counted


def price_of_a_call(source: str, url: str) -> Decimal:
    outcome(source, url, f"payer_{source}")
    counted = tally(source, url, "payer")
    return Decimal(counted["credits"]) / int(counted["calls"])


# Each behaviour


@every_source
@pytest.mark.parametrize(
    ("key", "failure"),
    [("sandbox_rejected", BadCredential), ("sandbox_no_credits", Exhausted), ("sandbox_down", Faulty)],
)
def test_some_keys_are_refused_for_good_and_pay_nothing(
    url: str, source: str, key: str, failure: type[Failure]
) -> None:
    assert outcomes(source, url, key, calls=4) == [failure.__name__] * 4
    counted = tally(source, url, key)
    assert (counted["calls"], counted["refusals"], counted["breaches"], counted["credits"]) == (4, 4, 0, "0")


@every_source
@pytest.mark.parametrize(
    ("key", "round"),
    [
        ("sandbox_throttled", ["Throttled", "Throttled", "Answer"]),
        ("sandbox_throttled_retry_after", ["Throttled", "Throttled", "Answer"]),
        ("sandbox_error", ["Faulty", "Answer"]),
    ],
)
def test_a_passing_failure_is_over_after_its_round(url: str, source: str, key: str, round: list[str]) -> None:
    assert outcomes(source, url, key, calls=2 * len(round)) == 2 * round
    counted = tally(source, url, key)
    refused = 2 * (len(round) - 1)
    assert (counted["refusals"], counted["breaches"]) == (refused, 0)
    assert Decimal(counted["credits"]) == 2 * price_of_a_call(source, url)


@every_source
def test_only_one_throttled_key_gets_a_retry_after(url: str, source: str) -> None:
    with pytest.raises(Throttled) as with_seconds:
        ask(source, url, f"sandbox_throttled_retry_after-{source}")
    with pytest.raises(Throttled) as without:
        ask(source, url, f"sandbox_throttled-{source}")
    assert (with_seconds.value.retry_after, without.value.retry_after) == (1.0, None)


@every_source
def test_a_reset_comes_after_the_bill_and_before_it_in_turn(url: str, source: str) -> None:
    key, cost = "sandbox_reset", price_of_a_call(source, url)
    billed = []
    for _ in range(4):
        assert outcomes(source, url, key, calls=1) == ["Lost"]
        billed.append(Decimal(tally(source, url, key)["credits"]) / cost)
    assert billed == [1, 1, 2, 2]
    assert tally(source, url, key)["played"] == {"cut_off": 2, "reset": 2}


@every_source
def test_a_key_that_hangs_is_billed_and_answers_too_late(url: str, source: str) -> None:
    with pytest.raises(Lost, match="ReadTimeout"):
        ask(source, url, f"sandbox_hang_{source}", seconds=SLOW_SECONDS)
    assert Decimal(tally(source, url, "sandbox_hang")["credits"]) == price_of_a_call(source, url)


@every_source
def test_a_slow_key_answers_late(url: str, source: str) -> None:
    began = time.monotonic()
    assert outcomes(source, url, "sandbox_slow", calls=1) == ["Answer"]
    assert SLOW_SECONDS <= time.monotonic() - began < PATIENCE_SECONDS


@every_source
def test_garbage_is_an_answer_that_cannot_be_read_and_is_billed(url: str, source: str) -> None:
    key = f"sandbox_garbage_{source}"
    for _ in MAGIC["sandbox_garbage"]:
        with pytest.raises(Garbled) as garbled:
            ask(source, url, key)
        assert garbled.value.status == 200
    counted = tally(source, url, "sandbox_garbage")
    assert (counted["played"], counted["refusals"]) == ({"truncated": 1, "mistyped": 1}, 0)
    assert Decimal(counted["credits"]) == 2 * price_of_a_call(source, url)


@every_source
def test_an_empty_answer_is_a_success(url: str, source: str) -> None:
    answer = ask(source, url, f"sandbox_empty_{source}")
    assert (answer.hits, answer.billed_results, answer.last) == ((), 0, True)
    assert tally(source, url, "sandbox_empty")["refusals"] == 0


@every_source
def test_an_unsteady_key_plays_each_behaviour_as_often_as_its_table_says(url: str, source: str) -> None:
    key = "sandbox_unsteady"
    seen = Counter(outcomes(source, url, key, calls=len(UNSTEADY)))
    assert seen == {"Answer": 12, "Throttled": 3, "Faulty": 2, "Lost": 3}
    counted = tally(source, url, key)
    assert counted["played"] == Counter(str(each) for each in UNSTEADY if each is not Behaviour.ORDINARY)
    # Twelve answers, one cut off and one that hung are billed.
    assert Decimal(counted["credits"]) == 14 * price_of_a_call(source, url)


def test_few_calls_may_hang_at_once_and_all_others_are_served() -> None:
    with sandbox_site(SandboxSettings(calls=1_000_000, latency=0, hang=60)) as site:

        def ending(number: int) -> str:
            with pytest.raises(httpx.TransportError) as error, httpx.Client(base_url=site.url, timeout=2) as client:
                modash(client, f"sandbox_hang_{number}")
            return type(error.value).__name__

        with ThreadPoolExecutor(MOST_SLOW_ANSWERS + 2) as callers:
            endings = Counter(callers.map(ending, range(MOST_SLOW_ANSWERS + 2)))
        assert endings == {"ReadTimeout": MOST_SLOW_ANSWERS, "RemoteProtocolError": 2}
        assert modash(site.client, "eve").is_success


def modash(client: httpx.Client, key: str) -> httpx.Response:
    pixel = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg=="
    sent = {"imageType": "image/png", "base64Image": pixel}
    return client.post("/modash/v1/ai/tiktok/image-search", json=sent, headers={"Authorization": f"Bearer {key}"})


def test_free_calls_see_a_rejected_key_and_an_empty_account(url: str) -> None:
    with httpx.Client(base_url=url) as client:
        rejected, empty, other = (
            client.get("/modash/v1/user/info", headers={"Authorization": f"Bearer {key}"})
            for key in ("sandbox_rejected", "sandbox_no_credits", "sandbox_error")
        )
    assert (rejected.status_code, rejected.json()["code"]) == (401, "api_token_invalid")
    assert empty.json()["billing"]["credits"] == 0
    assert other.json()["billing"]["credits"] > 0


# Names of magic keys


@pytest.mark.parametrize("name", MAGIC)
@pytest.mark.parametrize("behind", ["", "_alice", "-alice", "_1_2"])
def test_any_text_may_follow_a_name(name: str, behind: str) -> None:
    if name != "sandbox_unsteady":
        assert [behaviour(name + behind, turn) for turn in (1, 2, 3, 4)] == [
            behaviour(name, turn) for turn in (1, 2, 3, 4)
        ]


@pytest.mark.parametrize(
    "key", ["alice", "sandbox", "sandbox-demo", "sandbox_errors", "my_sandbox_error", "Sandbox_error"]
)
def test_no_other_key_is_magic(key: str) -> None:
    assert {behaviour(key, turn) for turn in range(1, 50)} == {Behaviour.ORDINARY}


def test_an_unsteady_key_has_an_order_of_its_own_and_keeps_it() -> None:
    def order(key: str) -> list[Behaviour]:
        return [behaviour(key, turn) for turn in range(1, 41)]

    assert order("sandbox_unsteady_a") == order("sandbox_unsteady_a")
    assert len({tuple(order(f"sandbox_unsteady_{number}")) for number in range(20)}) == 20
    for key in ("sandbox_unsteady", "sandbox_unsteady_a"):
        assert Counter(order(key)[:20]) == Counter(order(key)[20:]) == Counter(UNSTEADY)


def test_a_mistyped_answer_is_json_of_other_types() -> None:
    answer = b'{"total": 2, "profiles": [{"username": "ada"}, {"username": "bob"}]}'
    assert json.loads(mistyped(answer)) == {"total": 2, "profiles": "[{'username': 'ada'}, {'username': 'bob'}]"}
    assert json.loads(mistyped(b'{"profiles": []}')) == {"profiles": "[]"}
