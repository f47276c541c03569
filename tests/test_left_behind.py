"""An erased search leaves nothing behind, wherever one looks: in any table, in Redis, in files, in logs.

A whole Sightline runs, so that every process has had its part. All tables and keys are searched, also those that are added later.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import redis
from PIL import Image
from PIL.ExifTags import Base as ExifTag

from tests import processes, programs
from tests.accounts.receiving import Receiver, receiver
from tests.processes import Sightline, wait_until
from tests.searches.samples import plain_picture

pytestmark = pytest.mark.long

# The servers' own files: space that is not written anew yet is no part of what an erasure reaches.
SERVERS = {"postgresql", "valkey"}
TABLES = """
    SELECT table_name FROM information_schema.tables WHERE table_schema = 'public' AND table_type = 'BASE TABLE'
"""
# An operator's setting, and a search that ended an hour ago.
AN_HOUR_AGO = (
    "UPDATE searches_search SET finished_at = finished_at - interval '1 hour'",
    "UPDATE accounts_delivery SET finished_at = finished_at - interval '1 hour'",
)
ENFORCE = "from searches.lifecycle import retention; retention.enforce()"


class Marked:
    """A search of whose every part a text can be told from all others. `found`: what only its results have."""

    def __init__(self, sightline: Sightline, name: str) -> None:
        self.sent = {
            part: f"zq{name}{part}" for part in ("metadata", "parameter", "exif", "file", "request", "idempotency")
        }
        order = {
            "lookups": [
                {"source": "tiktok-creators", "limit": 3},
                {"source": "tiktok-creators", "limit": 3, "parameters": {"username": self.sent["parameter"]}},
            ],
            "metadata": {"campaign": self.sent["metadata"]},
            "max_age": 0,
        }
        answer = sightline.api.post(
            "/v1/searches",
            headers={
                "Prefer": "wait=30",
                "Idempotency-Key": self.sent["idempotency"],
                "X-Request-Id": self.sent["request"],
            },
            files={"image": (f"{self.sent['file']}.jpg", self._picture(), "image/jpeg")},
            data={"request": json.dumps(order)},
        )
        assert answer.status_code == 202, answer.text
        self.path = f"/v1/searches/{answer.json()['id']}"
        wait_until(lambda: sightline.api.get(self.path).json()["status"] == "succeeded", seconds=60)
        rows = sightline.api.get(f"{self.path}/results", params={"include": "raw"}).json()["data"]
        self.found = {row[part] for row in rows for part in ("external_id", "title")}
        self.picture = sightline.api.get(self.path).json()["image"]["sha256"]

    def _picture(self) -> bytes:
        """Draws a picture whose metadata have a text, and which is no other's."""
        picture, exif, file = plain_picture(64, 48), Image.Exif(), BytesIO()
        exif[ExifTag.ImageDescription] = self.sent["exif"]
        picture.putpixel((len(self.sent["exif"]), 5), (255, 0, 0))
        picture.save(file, "JPEG", exif=exif)
        return file.getvalue()

    @property
    def everything(self) -> set[str]:
        return {*self.sent.values(), *self.found, self.picture}


def places(sightline: Sightline, texts: set[str]) -> set[tuple[str, str]]:
    """Returns where any of the texts is found, each with the text."""
    readers = (tables(sightline, texts), keys(sightline), files(sightline.folder))
    contents = ((place, content) for reader in readers for place, content in reader)
    return {(place, text) for place, content in contents for text in texts if text.encode() in content}


def tables(sightline: Sightline, texts: set[str]) -> Iterator[tuple[str, bytes]]:
    """Yields the rows that have one of the texts, in any column. Bytes are shown as hexadecimal digits."""
    forms = [form for text in texts for form in (text, text.encode().hex())]
    for (table,) in sightline.rows(TABLES):
        rows = sightline.rows(
            f'SELECT row::text FROM "{table}" row WHERE row::text LIKE ANY (%s)', [f"%{form}%" for form in forms]
        )
        for (row,) in rows:
            known = {text for text in texts if text.encode().hex() in row}
            yield table, f"{row} {' '.join(known)}".encode()


def keys(sightline: Sightline) -> Iterator[tuple[str, bytes]]:
    """Yields all keys of all databases of Redis, with what they hold."""
    with redis.Redis.from_url(sightline.environment["REDIS_URL"]) as client:
        databases = [int(name.removeprefix("db")) for name in client.info("keyspace")]
    readers: dict[bytes, Any] = {
        b"string": lambda it, key: it.get(key),
        b"list": lambda it, key: it.lrange(key, 0, -1),
        b"hash": lambda it, key: it.hgetall(key),
        b"set": lambda it, key: it.smembers(key),
        b"zset": lambda it, key: it.zrange(key, 0, -1),
        b"stream": lambda it, key: it.xrange(key),
    }
    for number in databases:
        with redis.Redis.from_url(sightline.environment["REDIS_URL"], db=number) as client:
            for key in client.scan_iter():
                yield f"redis {key!r}", repr((key, readers[client.type(key)](client, key))).encode()


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yields the pictures, the logs of all processes, and all other files that are not the servers' own."""
    for path in folder.rglob("*"):
        if path.is_file() and not SERVERS & set(path.relative_to(folder).parts):
            yield str(path), f"{path} ".encode() + path.read_bytes()


def pictures(sightline: Sightline) -> set[Path]:
    return {path for path in (sightline.folder / "pictures").rglob("*") if path.is_file()}


@pytest.fixture
def sightline() -> Iterator[Sightline]:
    """Runs a Sightline whose Alice has an endpoint, a worker for searches and one for webhooks."""
    with programs.state_folder() as folder, processes.sightline(folder, OUTBOUND_ALLOW="127.0.0.0/8") as running:
        running.start_worker("searches")
        running.start_dispatcher()
        yield running


@pytest.fixture
def hooks(sightline: Sightline) -> Iterator[Receiver]:
    with receiver(lambda _: 204) as it:
        assert sightline.api.post("/v1/webhook-endpoints", json={"url": it.url}).status_code == 201
        yield it


def ended_by_retention(sightline: Sightline, kind: str) -> None:
    """Sets a retention of 0, lets an hour pass, and erases what is kept for longer."""
    wait_until(lambda: sightline.rows("SELECT count(*) FROM accounts_delivery WHERE state = 'pending'") == [(0,)])
    for statement in (f"UPDATE accounts_tenant SET {kind}_retention_days = 0", *AN_HOUR_AGO):
        sightline.rows(statement)
    sightline.manage("shell", "-c", ENFORCE)
    sightline.rows(f"UPDATE accounts_tenant SET {kind}_retention_days = NULL")


def test_an_erased_search_is_found_nowhere(sightline: Sightline, hooks: Receiver) -> None:
    others = pictures(sightline)
    deleted = Marked(sightline, "one")
    wait_until(lambda: any(deleted.sent["metadata"] in heard.body for heard in hooks.heard))
    present = places(sightline, deleted.everything)
    assert {text for _, text in present} >= {deleted.sent["metadata"], deleted.sent["parameter"], *deleted.found}
    assert {"accounts_event", "searches_result", "searches_search", "searches_lookup"} <= {
        place for place, _ in present
    }
    assert pictures(sightline) > others

    assert sightline.api.delete(deleted.path).status_code == 204
    assert places(sightline, deleted.everything) == set()
    wait_until(lambda: pictures(sightline) == others)

    kept_for_no_day = Marked(sightline, "two")
    ended_by_retention(sightline, "search")
    assert sightline.api.get(kept_for_no_day.path).status_code == 404
    assert places(sightline, kept_for_no_day.everything) == set()
    wait_until(lambda: pictures(sightline) == others)

    without_results = Marked(sightline, "three")
    ended_by_retention(sightline, "result")
    assert sightline.api.get(f"{without_results.path}/results").json()["code"] == "results_erased"
    assert places(sightline, without_results.found) == set()
    assert sightline.api.get(without_results.path).json()["metadata"] == {"campaign": without_results.sent["metadata"]}
