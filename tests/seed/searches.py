"""The searches of the seed: what was asked, called, found, charged and announced, spread over the past weeks.

Most succeeded. Of the rest, each kind that an operator looks for is there: failures, lost answers, cancellations, expiries, and
at the end of the time a backlog that waits.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import dataclass
from datetime import datetime, timedelta

from accounts.models import Attempt, Delivery, Event, Mode
from providers import registry
from searches.lanes import queue
from searches.models import Call, Image, Lookup, PictureUsage, Rendering, Result, Search
from tests.seed.books import CREDIT, METADATA, Cost, Ledger, credits
from tests.seed.copying import Table, id_at
from tests.seed.tenants import Owner, Tenants

PAGE = 20
# The share of searches that wait, and of those that ended, how many ended so.
WAITING = 0.01
ENDS = ((0.03, "failed"), (0.034, "expired"), (0.044, "canceled"), (0.046, "lost"))
# One in so many: has two lookups, uses a new picture, keeps three results.
TWO_LOOKUPS, NEW_PICTURE, WITH_RESULTS = 5, 5, 20
# What a call costs, in millionths, and the most of a lookup: prices are by result for creators, and by call for others.
PER_RESULT = CREDIT // 40
PROVIDERS = {source: adapter.provider for source, adapter in registry.ADAPTERS.items()}
SOURCES = ("tiktok-creators", "tiktok-products", "public-videos")
ERRORS = (
    ("no_answer", "The provider gave no answer, and nothing was billed."),
    ("refused", "The provider refuses this question."),
    ("unreadable_answer", "The provider's answer cannot be read."),
)
LOST = ("outcome_unknown", "The answer of a call was lost, and it may have been billed.")
SEND_EVERY = 2_000


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A search that is being made: whose it is, when it began and ended, and how."""

    id: str
    owner: Owner
    at: datetime
    ended_at: datetime | None
    end: str
    error: tuple[str, str]
    keeps_results: bool

    @property
    def status(self) -> str:
        return {"waits": "queued", "lost": "failed"}.get(self.end, self.end)


class Searches:
    def __init__(self, tenants: Tenants, ledger: Ledger, chance: random.Random) -> None:
        self.tenants, self.ledger, self.chance = tenants, ledger, chance
        self.searches = Table(
            Search,
            *("id", "tenant_id", "api_key_id", "mode", "status", "image_id", "metadata", "results_count", "request_id"),
            *("expires_at", "created_at", "finished_at"),
        )
        self.lookups = Table(
            Lookup,
            *("id", "search_id", "tenant_id", "ordinal", "source", "provider", "credential_id", "status", "lane_id"),
            *("queue_state", "sort_key", "expires_at", "limit", "page_size", "pages", "pages_done", "price_per_call"),
            *("price_per_result", "result_count", "error_code", "error_detail", "created_at", "started_at"),
            "finished_at",
        )
        self.calls = Table(
            Call,
            *("id", "lookup_id", "page", "state", "armed_at", "leased_until", "sent_at", "finished_at", "status"),
            *("returned", "credits", "unknown", "provider_request_id", "error_code", "error_detail"),
        )
        self.results = Table(
            Result,
            *("id", "search_id", "lookup_id", "rank", "sequence", "type", "external_id", "title", "url", "observed_at"),
        )
        self.images = Table(
            Image,
            *("id", "tenant_id", "sha256", "pixels_sha256", "format", "width", "height", "bytes", "file", "created_at"),
            "stored_at",
        )
        self.renderings = Table(Rendering, "image_id", "provider", "media_type", "bytes", "file")
        self.events = Table(Event, "id", "tenant_id", "mode", "type", "reference", "body", "created_at")
        self.deliveries = Table(
            Delivery,
            *("id", "tenant_id", "event_id", "endpoint_id", "state", "next_attempt_at", "tries", "attempt_count"),
            *("created_at", "finished_at"),
        )
        self.attempts = Table(
            Attempt, "delivery_id", "number", "started_at", "duration_ms", "status", "cause", "detail"
        )

    def tables(self) -> tuple[Table, ...]:
        return (
            *(self.images, self.renderings, self.searches, self.lookups, self.calls, self.results),
            *(self.events, self.deliveries, self.attempts),
        )

    def make(self, count: int, *, since: datetime, until: datetime) -> None:
        """Makes searches in the order of time. Few tenants have many, most have few."""
        step, owners = (until - since) / count, self.tenants.owners
        for number in range(count):
            owner = owners[int(len(owners) * self.chance.random() ** 2)]
            self._search(number, owner, since + number * step, waits=number >= count * (1 - WAITING))
            if (number + 1) % SEND_EVERY == 0:
                self.send()
        self.send()

    def send(self) -> None:
        for table in self.tables():
            table.send()
        self.ledger.send()

    def _search(self, number: int, owner: Owner, at: datetime, *, waits: bool) -> None:
        luck = self.chance.random()
        end = "waits" if waits else next((name for share, name in ENDS if luck < share), "succeeded")
        ended_at = None if waits else at + timedelta(seconds=2 + 18 * self.chance.random())
        error = LOST if end == "lost" else self.chance.choice(ERRORS) if end == "failed" else ("", "")
        asked = Asked(
            id=id_at(at, self.chance),
            owner=owner,
            at=at,
            ended_at=ended_at,
            end=end,
            error=error,
            keeps_results=number % WITH_RESULTS == 0,
        )
        sources = SOURCES[:2] if number % TWO_LOOKUPS == 0 else (SOURCES[number % len(SOURCES)],)
        found = sum(self._lookup(asked, ordinal, source) for ordinal, source in enumerate(sources))
        self.searches.add(
            *(asked.id, owner.id, owner.key, Mode.LIVE, asked.status, self._image(owner, number, at), METADATA, found),
            *(f"req-{hashlib.md5(asked.id.encode()).hexdigest()}", at + timedelta(days=1), at, ended_at),
        )
        owner.searches += 1
        if ended_at is not None:
            self._announce(asked, ended_at)

    def _lookup(self, asked: Asked, ordinal: int, source: str) -> int:
        """Makes a lookup with its call and its lines in the ledger. Returns how many results are kept of it."""
        owner, provider, id = asked.owner, PROVIDERS[source], id_at(asked.at, self.chance)
        is_called = asked.end in ("succeeded", "failed", "lost")
        per_call, per_result = (0, PER_RESULT) if source == SOURCES[0] else (CREDIT, 0)
        returned = self.chance.randint(0, PAGE) if asked.end == "succeeded" else None
        state = "none" if asked.ended_at else "blocked" if owner.blocked else "ready"
        lane = self.tenants.lanes[provider]
        if state == "ready":
            owner.ready[lane] = owner.ready.get(lane, 0) + 1
        kept = min(returned or 0, 3) if asked.keeps_results else 0
        self.lookups.add(
            *(
                id,
                asked.id,
                owner.id,
                ordinal,
                source,
                provider,
                owner.credentials[provider],
                asked.status,
                lane,
                state,
            ),
            *(queue.sort_key(priority=0, created_at=asked.at), asked.at + timedelta(days=1), PAGE, PAGE, 1),
            *(1 if returned is not None else 0, credits(per_call), credits(per_result), kept, *asked.error, asked.at),
            *(asked.at + timedelta(seconds=1) if is_called else None, asked.ended_at),
        )
        cost = Cost(lookup=id, source=source, spender=owner.key, held_at=asked.at)
        self._spend(asked, cost, most=per_call + PAGE * per_result, charged=per_call + (returned or 0) * per_result)
        self._results(asked, id, ordinal, kept)
        return kept

    def _spend(self, asked: Asked, cost: Cost, *, most: int, charged: int) -> None:
        books = asked.owner.books[PROVIDERS[cost.source]]
        self.ledger.hold(books, cost, most)
        if asked.ended_at is None:
            self.ledger.keep(books, cost, most)
            return
        at = asked.ended_at
        if asked.end == "lost":
            self.ledger.lose(books, cost, self._call(asked, cost, "unknown", unknown=most), most, at)
        elif asked.end == "succeeded":
            call = self._call(asked, cost, "answered", charged)
            if charged:
                self.ledger.charge(books, cost, call, charged, at)
            self.ledger.release(books, cost, most - charged, at)
        else:
            if asked.end == "failed":
                self._call(asked, cost, "failed")
            self.ledger.release(books, cost, most, at)

    def _call(self, asked: Asked, cost: Cost, state: str, charged: int = 0, *, unknown: int = 0) -> str:
        armed, ended = asked.at + timedelta(seconds=1), asked.ended_at
        id = id_at(armed, self.chance)
        answered = state == "answered"
        self.calls.add(
            *(id, cost.lookup, 0, state, armed, armed + timedelta(minutes=5), armed, ended, 200 if answered else None),
            *(PAGE if answered else None, credits(charged), credits(unknown), f"pr-{id[-12:]}{id[:8]}", *asked.error),
        )
        return id

    def _results(self, asked: Asked, lookup: str, ordinal: int, count: int) -> None:
        for rank in range(1, count + 1):
            number = self.chance.randrange(10**9)
            address = f"https://www.tiktok.com/@creator{number}"
            self.results.add(
                *(id_at(asked.at, self.chance), asked.id, lookup, rank, 10 * ordinal + rank, "creator", number),
                *(f"Creator {number}", address, asked.ended_at),
            )

    def _image(self, owner: Owner, number: int, at: datetime) -> str:
        if not owner.images or number % NEW_PICTURE == 0:
            id = id_at(at, self.chance)
            digest = hashlib.sha256(id.encode()).hexdigest()
            file = f"{owner.id}/{id}.jpg"
            self.images.add(id, owner.id, digest, digest[::-1], "jpeg", 1280, 853, 210_000, file, at, at)
            self.renderings.add(id, "modash", "image/jpeg", 210_000, file)
            owner.images.append(id)
        return owner.images[-1]

    def _announce(self, asked: Asked, at: datetime) -> None:
        owner, id, kind = asked.owner, id_at(at, self.chance), f"search.{asked.status}"
        body = json.dumps({"type": kind, "timestamp": at.isoformat(), "data": {"id": asked.id, "status": asked.status}})
        self.events.add(id, owner.id, Mode.LIVE, kind, f"search:{asked.id}", body, at)
        delivery, tries = id_at(at, self.chance), 1 if owner.endpoint_works else 8
        state = "delivered" if owner.endpoint_works else "failed"
        self.deliveries.add(delivery, owner.id, id, owner.endpoint, state, None, tries, tries, at, at)
        answer = (200, "", "") if owner.endpoint_works else (502, "bad_status", "The server answers 502 Bad Gateway.")
        self.attempts.add(delivery, tries, at, 80, *answer)

    def close(self) -> None:
        usage = Table(PictureUsage, "tenant_id", "images", "bytes")
        for owner in self.tenants.owners:
            usage.add(owner.id, len(owner.images), 210_000 * len(owner.images))
        usage.send()
