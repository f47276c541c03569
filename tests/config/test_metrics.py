"""`/metrics` shows Prometheus the requests of all processes of a web server, if it shows the token."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from prometheus_client.parser import text_string_to_metric_families
from pytest_django import Settings

from accounts import keys
from accounts.models import Mode, Tenant
from config import metrics, request_turns
from tests.config.test_request_turns import asked

TOKEN = "a-token-of-prometheus"
SHOWN = {"Authorization": f"Bearer {TOKEN}"}
# Two processes of one server count, and a third one answers.
PROCESSES = """
import os, sys, django
django.setup()
from django.conf import settings
from django.test import RequestFactory
from config import metrics
settings.METRICS_TOKEN = "t"
server = int(sys.argv[1])
for _ in range(2):
    if not (child := os.fork()):
        metrics.share(server)
        metrics.answered("GET", "/v1/searches", 200, 0.1)
        os._exit(0)
    os.waitpid(child, 0)
metrics.share(server)
request = RequestFactory().get("/metrics", headers={"Authorization": "Bearer t"})
sys.stdout.buffer.write(metrics.answer(request).content)
"""


@pytest.fixture
def client(settings: Settings) -> Client:
    settings.METRICS_TOKEN = TOKEN
    return Client()


def counts(text: str) -> dict[tuple[str, str, str], float]:
    """Returns the requests by route, method and status."""
    return {
        (sample.labels["route"], sample.labels["method"], sample.labels["status"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "sightline_http_requests_total"
    }


def counted(client: Client) -> dict[tuple[str, str, str], float]:
    response = client.get("/metrics", headers=SHOWN)
    assert response["Content-Type"].startswith("text/plain")
    assert response["Cache-Control"] == "no-store"
    return counts(response.content.decode())


def test_requests_are_counted_by_the_pattern_of_their_path(client: Client, alice: Tenant) -> None:
    key = {"Authorization": f"Bearer {keys.issue(alice, Mode.LIVE)[1]}"}
    before = counted(client)
    client.get("/v1/searches", headers=key)
    client.get(f"/v1/searches/{uuid4()}", headers=key)
    client.get("/v1/nowhere")
    client.generic("BREW", "/docs/errors")
    client.get("/healthz")
    after = counted(client)
    assert {name: value - before.get(name, 0) for name, value in after.items() if value != before.get(name)} == {
        ("/v1/searches", "GET", "200"): 1,
        ("/v1/searches/<id:id>", "GET", "404"): 1,
        (metrics.NO_ROUTE, "GET", "404"): 1,
        ("/docs/errors", "other", "405"): 1,
    }


def test_requests_that_are_refused_before_any_view_are_counted(
    client: Client, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(request_turns, "ALONE", 0)
    monkeypatch.setattr(request_turns, "threads", request_turns.Threads(lambda: 0, "Busy."))
    before = counted(client).get((metrics.REFUSED, "GET", "429"), 0)
    assert asked(request_turns.InTurns(lambda *_: []), "sl_live_x")[0] == 429
    assert counted(client)[metrics.REFUSED, "GET", "429"] == before + 1


@pytest.mark.parametrize("shown", [{}, {"Authorization": "Bearer another"}, {"Authorization": TOKEN}])
def test_without_the_token_there_is_no_such_page(client: Client, shown: dict[str, str]) -> None:
    assert client.get("/metrics", headers=shown).status_code == 404


def test_without_a_token_of_the_operator_nothing_is_counted(settings: Settings, db: None) -> None:
    settings.METRICS_TOKEN = ""
    client = Client()
    assert client.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 404
    metrics.share(os.getppid())
    assert metrics.FOLDER not in os.environ


def test_one_process_answers_for_all_of_its_server(tmp_path: Path) -> None:
    left = tmp_path / f"{metrics.NAME}-{os.geteuid()}-999999999-1"
    left.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", PROCESSES, str(os.getpid())],
        env=os.environ | {"TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert counts(done.stdout) == {("/v1/searches", "GET", "200"): 2}
    # That of a server that is gone was removed.
    assert [folder.name.split("-")[3] for folder in tmp_path.iterdir()] == [str(os.getpid())]


def test_a_folder_that_cannot_be_made_ends_the_start(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.METRICS_TOKEN = TOKEN
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(ImproperlyConfigured, match=r"METRICS_TOKEN is set, and .* cannot be made: No such file"):
        metrics.share(os.getppid())
