"""Runs schemathesis over the whole document against a running Sightline: granian, PostgreSQL, Valkey, workers and the sandbox.

Its command is run as a person would run it. Its own plugin for pytest would make one test of each operation, without their links.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.processes import Sightline, answers, started, wait_until
from tests.programs import CHECKOUT, state_folder
from tests.searches.samples import jpeg

PROVIDERS = {"modash": "fuzz-modash-key", "keyapi": "sk_live_fuzz", "memories": "sk-mavi-fuzz"}
# A run asks for thousands of everything in a minute.
NO_LIMITS = """
UPDATE accounts_tenant SET requests_per_second = 100000, key_checks_per_minute = 1000000, test_events_per_minute = 1000000,
    redeliveries_per_minute = 1000000, most_credentials = 100000, most_endpoints = 100000, most_api_keys = 100000
"""
CHECKS = (
    *("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance"),
    *("response_schema_conformance", "negative_data_rejection", "positive_data_acceptance", "missing_required_header"),
    *(
        "unsupported_method",
        "allow_header_conformance",
        "use_after_free",
        "ensure_resource_availability",
        "ignored_auth",
    ),
)


@dataclass(frozen=True)
class Outcome:
    """The outcome of a run of schemathesis. `operations`: those that were asked, as method and path; `links`: those that were
    followed with what the answer before had.
    """

    passed: bool
    said: str
    operations: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    links: Counter[str] = field(default_factory=Counter)

    @property
    def cases(self) -> int:
        return self.statuses.total()


@contextmanager
def system() -> Iterator[Sightline]:
    """Yields a Sightline with a tenant that has a key for each provider and rows, and no dispatcher: no webhook leaves."""
    with state_folder() as folder, started(folder, OUTBOUND_ALLOW="127.0.0.1/32") as running:
        tenant = json.loads(running.manage("create_tenant", "Fuzz", "--json"))
        running.api.headers["Authorization"] = f"Bearer {tenant['api_keys']['live']}"
        for provider, key in PROVIDERS.items():
            running.manage("store_credential", "Fuzz", provider, "--from-env", "KEY", KEY=key)
        running.rows(NO_LIMITS)
        running.start_worker("searches")
        wait_until(lambda: answers(running.sandbox, "/_stats") and answers(running.api, "/v1/sources"))
        add_rows(running.api)
        yield running


def add_rows(api: httpx.Client) -> None:
    """Puts a row into each list: a chain that begins with a list leads nowhere if it is empty."""
    image = posted(api, "/v1/images", files={"image": ("picture.jpg", jpeg(), "image/jpeg")})
    posted(api, "/v1/searches", json={"image": {"id": image}, "lookups": [{"source": "tiktok-creators"}]})
    endpoint = posted(api, "/v1/webhook-endpoints", json={"url": "http://127.0.0.1/"})
    posted(api, f"/v1/webhook-endpoints/{endpoint}/test")


def posted(api: httpx.Client, path: str, **content: Any) -> str:
    """Returns the id of the row that the request made."""
    answer = api.post(path, **content)
    assert answer.is_success, answer.text
    id: str = answer.json()["id"]
    return id


def run(running: Sightline, *options: str, one_in: int = 1) -> Outcome:
    """Runs schemathesis with these options. `one_in`: of the cases of its phase of combinations, one in so many is sent."""
    url, report = str(running.api.base_url).rstrip("/"), running.folder / "schemathesis.ndjson"
    [[key_id]] = running.rows("SELECT id FROM accounts_apikey WHERE mode = 'live' ORDER BY created_at LIMIT 1")
    key = running.api.headers["Authorization"].removeprefix("Bearer ")
    reports = ["--report", "ndjson", "--report-ndjson-path", str(report)]
    configured = ["-m", "schemathesis.cli", "--config-file", str(Path(__file__).with_name("schemathesis.toml"))]
    done = subprocess.run(
        [
            *(sys.executable, *configured, "run", f"{url}/v1/openapi.json", "-u", url, "-c", ",".join(CHECKS)),
            *(*reports, *options),
        ],
        cwd=running.folder,
        env=os.environ
        | {"PYTHONPATH": str(CHECKOUT), "FUZZ_ONE_IN": str(one_in), "FUZZ_KEY": key, "FUZZ_KEY_ID": str(key_id)},
        capture_output=True,
        text=True,
        check=False,
    )
    return outcome(done.returncode == 0, done.stdout + done.stderr, report)


def outcome(passed: bool, said: str, report: Path) -> Outcome:
    found = Outcome(passed, said)
    for line in report.read_text().splitlines() if report.exists() else ():
        if scenario := json.loads(line).get("ScenarioFinished"):
            count(scenario["recorder"], found)
    return found


def count(recorder: dict[str, Any], found: Outcome) -> None:
    for id, exchange in recorder.get("interactions", {}).items():
        case = recorder["cases"].get(id)
        if case is None or not exchange["response"]:
            continue
        found.operations[f"{case['value']['method']} {case['value']['path']}"] += 1
        found.statuses[exchange["response"]["status_code"]] += 1
        if case["is_transition_applied"]:
            found.links[case["transition"]["id"]] += 1
