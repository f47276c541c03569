"""Runs the receivers that `docs/webhooks.md` prints: real deliveries verify, during a rotation too."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_network
from pathlib import Path

import httpx
import pytest
from django.utils import timezone
from pytest_django import Settings

from accounts import webhooks
from accounts.models import Attempt, Delivery, Endpoint, EventType, Mode, Tenant
from accounts.webhooks import delivery, endpoints
from config.launcher import ports
from tests import programs

FOLDER = Path(__file__).parent
PAGE = FOLDER.parent.parent / "docs" / "webhooks.md"
PACKAGE = "standardwebhooks@1.1.1"
DATA = {"id": "019a9f3e", "name": "Zoë's 🎉 \u2028 </script>"}

Command = list[str]


@pytest.fixture(scope="session")
def node_receiver(tmp_path_factory: pytest.TempPathFactory) -> Command:
    """Makes the receiver in a folder of its own, with the package beside it."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("Node.js and npm are not on this machine.")
    folder = tmp_path_factory.mktemp("receiver")
    shutil.copy(FOLDER / "receiver.mjs", folder)
    install = [npm, "install", "--no-audit", "--no-fund", "--ignore-scripts", PACKAGE]
    try:
        subprocess.run(install, cwd=folder, check=True, capture_output=True, timeout=120)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired):
        pytest.skip(f"npm cannot get {PACKAGE} here.")
    return [node, str(folder / "receiver.mjs")]


@pytest.fixture(params=["python", "node"])
def command(request: pytest.FixtureRequest) -> Command:
    if request.param == "python":
        return [sys.executable, str(FOLDER / "receiver.py")]
    node: Command = request.getfixturevalue("node_receiver")
    return node


@pytest.fixture
def endpoint(alice: Tenant, settings: Settings) -> Endpoint:
    """Makes an endpoint at a port that is not open yet."""
    settings.OUTBOUND_ALLOW = [ip_network("127.0.0.1")]
    return endpoints.create(alice, Mode.LIVE, url=f"http://127.0.0.1:{ports.chosen('PORT', 0)}/")[0]


@contextmanager
def receiving(command: Command, endpoint: Endpoint, secret: str, printed: Path) -> Iterator[None]:
    """Runs the receiver with this secret. `printed` holds its output afterwards."""
    environment = {"PATH": os.environ["PATH"], "PYTHONUTF8": "1", "PORT": str(httpx.URL(endpoint.url).port)}
    environment["WEBHOOK_SECRET"] = secret
    with (
        printed.open("wb") as output,
        programs.running(command, env=environment, stdout=output, stderr=subprocess.DEVNULL) as process,
    ):
        _wait_for(endpoint.url, process)
        yield


def _wait_for(url: str, process: subprocess.Popen[bytes]) -> None:
    """Waits until the receiver refuses a request without a signature, or ends."""
    while process.poll() is None:
        try:
            assert httpx.post(url, content=b"{}", trust_env=False).status_code == 400
            return
        except httpx.TransportError:
            time.sleep(0.05)
    raise AssertionError("the receiver does not answer")


def delivered(endpoint: Endpoint) -> Delivery:
    """Records an event, and sends it once."""
    webhooks.record(endpoint.tenant_id, Mode.LIVE, EventType.SEARCH_FAILED, DATA)
    [claimed] = delivery.claim(most=1, most_slow=1)
    delivery.deliver(claimed)
    return Delivery.objects.latest("pk")


def test_a_delivery_verifies_and_is_read(command: Command, endpoint: Endpoint, tmp_path: Path) -> None:
    printed = tmp_path / "printed"
    [secret] = endpoints.secrets_of(endpoint, at=timezone.now())
    with receiving(command, endpoint, secret, printed):
        sent = delivered(endpoint)
    assert (sent.state, Attempt.objects.get().status) == ("delivered", 204)
    assert f"{sent.event_id} search.failed {{" in printed.read_text()
    assert "Zoë's 🎉" in printed.read_text()


def test_either_secret_verifies_while_one_takes_the_others_place(
    command: Command, endpoint: Endpoint, tmp_path: Path
) -> None:
    endpoints.rotate(endpoint)
    new, old = endpoints.secrets_of(endpoint, at=timezone.now())
    for secret in (old, new):
        with receiving(command, endpoint, secret, tmp_path / "printed"):
            assert delivered(endpoint).state == "delivered"


def test_a_secret_that_is_over_verifies_nothing(command: Command, endpoint: Endpoint, tmp_path: Path) -> None:
    [first] = endpoints.secrets_of(endpoint, at=timezone.now())
    endpoints.rotate(endpoint)
    endpoints.rotate(endpoint)
    with receiving(command, endpoint, first, tmp_path / "printed"):
        assert delivered(endpoint).state == "pending"
    assert (Attempt.objects.get().status, Attempt.objects.get().cause) == (400, "bad_status")
    assert (tmp_path / "printed").read_text() == ""


@pytest.mark.parametrize("name", ["receiver.py", "receiver.mjs"])
def test_the_page_shows_it_as_it_is_run(name: str) -> None:
    assert f"\n{(FOLDER / name).read_text()}```\n" in PAGE.read_text()
