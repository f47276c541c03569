"""Tests the proxy's configuration in Debian's nginx: it cuts slow clients off, and serves the others meanwhile."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from config.launcher import ports
from config.problem_codes import PROBLEMS
from tests import programs
from tests.attack.conftest import Bystander
from tests.attack.test_clients_that_stall import held, status, unfinished
from tests.processes import answers, wait_until
from tests.searches.samples import jpeg

NGINX = shutil.which("nginx") or "/usr/sbin/nginx"
MANY = 40
# Longer than both time limits.
HELD_SECONDS = 13.0

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(
        not shutil.which(NGINX), reason="There is no nginx; install Debian's to test the proxy's configuration."
    ),
]


@pytest.fixture(scope="module")
def proxied(bystander: Bystander) -> Iterator[Bystander]:
    """Runs nginx with the configuration as it is, except the addresses and the paths. Yields a bystander behind it."""
    port = ports.chosen("PORT", 0)
    text = (programs.CHECKOUT / "config/nginx.conf").read_text()
    with programs.state_folder() as folder, ExitStack() as stack:
        places = {"listen 8080": f"listen {ports.HOST}:{port}", "web:8000": bystander.url.removeprefix("http://")}
        for was, is_now in (places | {" /tmp/": f" {folder}/"}).items():
            assert was in text
            text = text.replace(was, is_now)
        (folder / "nginx.conf").write_text(text)
        (folder / "trusted.conf").write_text(f"set_real_ip_from {ports.HOST};\n")
        command = [NGINX, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "daemon off;"]
        log = stack.enter_context((folder / "log").open("wb"))
        nginx = stack.enter_context(subprocess.Popen(command, stderr=log))
        stack.callback(nginx.terminate)
        behind = Bystander(bystander.system, bystander.key)
        behind.url = f"http://{ports.HOST}:{port}"
        client = stack.enter_context(httpx.Client(base_url=behind.url, trust_env=False))
        wait_until(lambda: answers(client, "/healthz"))
        yield behind


def test_slow_bodies_and_slow_headers_are_cut_and_the_others_are_served(proxied: Bystander, alices_key: str) -> None:
    body = unfinished(
        "/v1/images", f"Authorization: Bearer {alices_key}", "Content-Type: multipart/form-data; boundary=b"
    )
    headers = "GET /healthz HTTP/1.1\r\nHost: a\r\n"
    with (
        proxied.watching(),
        held(proxied.url, body, count=MANY) as bodies,
        held(proxied.url, headers, count=MANY) as unasked,
    ):
        sent = httpx.post(
            f"{proxied.url}/v1/images", headers=proxied.headers, files={"image": ("mug.jpg", jpeg())}, timeout=20
        )
        assert sent.status_code in (200, 201), sent.text
        time.sleep(HELD_SECONDS)
        for connection in [*bodies, *unasked]:
            connection.settimeout(0.5)
            with pytest.raises((ConnectionError, IndexError)):  # reset or closed, without a word
                status(connection)


@pytest.mark.parametrize(
    ("path", "most"), [("/admin/login/", 1_048_576), ("/docs", 1_048_576), ("/v1/images", 31_457_280)]
)
def test_a_body_is_bounded_by_its_place(proxied: Bystander, path: str, most: int) -> None:
    with held(proxied.url, unfinished(path, f"Authorization: Bearer {proxied.key}", length=most + 1), count=1) as (
        connection,
    ):
        assert status(connection) == 413


def test_a_slow_body_never_reaches_the_web_server(proxied: Bystander) -> None:
    order = unfinished("/v1/searches", f"Authorization: Bearer {proxied.key}", "Content-Type: application/json")
    with held(proxied.url, order, count=MANY):
        time.sleep(1)
        direct = proxied.system.api.post("/v1/searches", headers=proxied.headers, json={})
        assert direct.status_code == 400


@pytest.mark.parametrize("key", ["", "Bearer x", "Bearer sl_live_unknown", "Basic x"])
@pytest.mark.parametrize("length", [100_000, 29_000_000])
def test_a_large_body_of_nobody_is_not_read(proxied: Bystander, key: str, length: int) -> None:
    sent = unfinished("/v1/images", f"Authorization: {key}", length=length)
    with held(proxied.url, sent, count=5) as connections:
        assert [status(connection) for connection in connections] == [401] * 5


def test_a_key_has_few_large_bodies_under_way_and_leaves_others_theirs(proxied: Bystander, alices_key: str) -> None:
    alices = unfinished("/v1/images", f"Authorization: Bearer {alices_key}", length=29_000_000)
    bobs = unfinished("/v1/images", f"Authorization: Bearer {proxied.key}", length=29_000_000)
    with held(proxied.url, alices, count=8) as kept:
        time.sleep(1)
        with held(proxied.url, alices, count=3) as more, held(proxied.url, bobs, count=1) as others:
            assert [status(connection) for connection in more] == [503] * 3
            for connection in [*kept, *others]:
                connection.settimeout(0.5)
                assert status(connection) is None


@pytest.mark.parametrize(("length", "code"), [(31_457_281, 413), (29_000_000, 401)])
def test_what_the_proxy_refuses_below_v1_is_a_problem(proxied: Bystander, length: int, code: int) -> None:
    with held(proxied.url, unfinished("/v1/images", length=length), count=1) as (connection,):
        head, _, body = connection.recv(65536).decode().partition("\r\n\r\n")
    told = json.loads(body)
    assert f" {code} " in head
    assert "Content-Type: application/problem+json\r\n" in head
    assert f"X-Request-Id: {told['request_id']}" in head
    kind = PROBLEMS[told["code"]]
    assert (told["status"], told["title"]) == (kind.status, kind.title) == (code, kind.title)


# Requests that nginx answers before it knows their location.
UNREADABLE = {
    "no method": (b"\x16\x03\x01\x00\r\n\r\n", 400),
    "two hosts": (b"GET /v1/searches HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
    "no host": (b"GET /v1/searches HTTP/1.1\r\n\r\n", 400),
    "a wrong version": (b"GET /v1/searches HTTP/9.9\r\nHost: a\r\n\r\n", 400),
    "a long line": (b"GET /v1/" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "a long header": (b"GET /v1/searches HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 400),
    "an unknown coding": (b"POST /v1/searches HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: x\r\n\r\n", 400),
    "a method for proxies": (b"TRACE /v1/searches HTTP/1.1\r\nHost: a\r\n\r\n", 405),
}


@pytest.mark.parametrize(("sent", "code"), UNREADABLE.values(), ids=UNREADABLE)
def test_a_request_that_the_proxy_cannot_read_is_a_problem(proxied: Bystander, sent: bytes, code: int) -> None:
    with socket.create_connection((ports.HOST, int(proxied.url.rpartition(":")[2])), timeout=20) as connection:
        connection.sendall(sent)
        head, _, body = connection.makefile("rb").read().decode().partition("\r\n\r\n")
    problem = json.loads(body)
    assert f" {code} " in head.splitlines()[0]
    assert "Content-Type: application/problem+json" in head
    kind = PROBLEMS[problem["code"]]
    assert (problem["status"], problem["title"]) == (kind.status, kind.title)


def test_every_problem_of_the_proxy_is_one_of_the_contract() -> None:
    text = (programs.CHECKOUT / "config/nginx.conf").read_text()
    bodies = [json.loads(body) for body in re.findall(r"return \d+ '(\{.*\})';", text)]
    assert len(bodies) == len(set(re.findall(r"error_page .* = (\S+);", text))) > 3
    for told in bodies:
        kind = PROBLEMS[told["code"]]
        assert (told["status"], told["title"]) == (kind.status, kind.title)
        assert told["type"].endswith(f"/docs/errors#{told['code']}")
