"""No key and no picture of a run is anywhere but where it belongs: in no log, no message, no page, no row and no key of Redis.

A whole Sightline runs with its logs at DEBUG, and does what it does: a search is sent, called, answered and announced. An
operator opens every page of the admin. Requests with keys and a picture fail as our own mistakes, on a web server that shows
debug pages too. Redis' own monitor hears every command meanwhile, so that Celery's messages are among what is searched.
"""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import redis
from django.contrib import admin
from django.urls import reverse

from config.launcher import ports
from tests import processes, programs
from tests.accounts.receiving import receiver
from tests.processes import Program, Sightline, granian, wait_until
from tests.searches.samples import jpeg
from tests.test_left_behind import keys, tables

PASSWORD = "correct horse battery staple"
PROVIDER_KEYS = (
    "alices-modash-key",
    "zq-another-provider-key-91",
    "zq-typed-into-a-form-17",
    "zq-typed-into-a-form-18",
)
LINK = re.compile(r'(?:href|hx-get)="(/admin/[^"#]*)"')
ID = re.compile(r"/[^/]*\d[^/]*/")
# A picture's own pages show it, and those that end a session end the walk.
NOT_WALKED = re.compile(r"/picture/|/thumbnail/|/small/|/logout/|/log_out_everywhere/|/export|/r/")
# Of a picture, bytes that no other has: from its middle.
CHUNK = 24


@pytest.fixture
def sightline() -> Iterator[Sightline]:
    told = {"OUTBOUND_ALLOW": "127.0.0.0/8", "LOG_LEVEL": "DEBUG"}
    with programs.state_folder() as folder, processes.sightline(folder, **told) as running:
        running.start_worker("searches")
        running.start_dispatcher()
        yield running


@contextmanager
def heard(sightline: Sightline) -> Iterator[list[str]]:
    """Yields every command that Redis gets until the block ends."""
    commands: list[str] = []
    with redis.Redis.from_url(sightline.environment["REDIS_URL"]) as client, client.monitor() as monitor:

        def listen() -> None:
            for command in monitor.listen():
                commands.append(str(command["command"]))
                if "end of the run" in commands[-1]:
                    return

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            yield commands
        finally:
            sightline.redis.echo("end of the run")
            listener.join()


class Run:
    """Plays a tenant and an operator, with the secrets that they use, and every answer that shows none by right."""

    def __init__(self, sightline: Sightline, client: httpx.Client) -> None:
        self.sightline, self.client = sightline, client
        self.secrets = {*PROVIDER_KEYS, sightline.api.headers["Authorization"].removeprefix("Bearer ")}
        self.answers: list[tuple[str, str]] = []
        self.pages: set[str] = set()

    def of_a_tenant(self, hooks: str) -> None:
        """Sends a search with a picture, stores a key to a provider, makes an API key and an endpoint."""
        api = self.sightline.api
        endpoint = api.post("/v1/webhook-endpoints", json={"url": hooks}).json()
        made = api.post("/v1/api-keys", json={"label": "another", "mode": "live"}).json()
        self.secrets |= {endpoint["secret"], endpoint["secret"].removeprefix("whsec_"), made["secret"]}
        sent = {"provider": "modash", "label": "another", "secret": PROVIDER_KEYS[1]}
        assert api.post("/v1/credentials", json=sent).status_code == 201
        order = {"lookups": [{"source": "tiktok-creators", "limit": 3}], "max_age": 0}
        answer = self.search(api, order)
        path = f"/v1/searches/{answer.json()['id']}"
        wait_until(lambda: api.get(path).json()["status"] == "succeeded")
        wait_until(
            lambda: self.sightline.rows("SELECT count(*) FROM accounts_delivery WHERE state = 'pending'") == [(0,)]
        )
        for each in (path, f"{path}/results", "/v1/credentials", "/v1/api-keys", "/v1/webhook-endpoints"):
            self.keep(each, api.get(each))

    def search(self, client: httpx.Client, order: object) -> httpx.Response:
        files = {"image": ("mug.jpg", jpeg(), "image/jpeg")}
        authorization = {"Authorization": self.sightline.api.headers["Authorization"]}
        return client.post("/v1/searches", files=files, data={"request": json.dumps(order)}, headers=authorization)

    def of_an_operator(self) -> None:
        """Signs in, and follows every link of the admin: one page of a kind, with no picture's own."""
        named = {"DJANGO_SUPERUSER_PASSWORD": PASSWORD}
        self.sightline.manage(
            "createsuperuser", "--no-input", "--username=olive", "--email=o@sightline.example", **named
        )
        self.sign_in(self.client)
        todo, kinds = ["/admin/"], set()
        while todo:
            path = todo.pop().replace("&amp;", "&")
            kind = ID.sub("/*/", path.partition("?")[0])
            if kind in kinds or NOT_WALKED.search(path):
                continue
            kinds.add(kind)
            answer = self.client.get(path)
            assert answer.status_code < 400, (path, answer.text[:500])
            self.keep(path, answer)
            todo += LINK.findall(answer.text)
        self.pages = kinds

    def sign_in(self, client: httpx.Client) -> None:
        form = {"username": "olive", "password": PASSWORD, "csrfmiddlewaretoken": self.token(client, "/admin/login/")}
        assert client.post("/admin/login/", data=form).status_code == 302

    def token(self, client: httpx.Client, path: str) -> str:
        found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', client.get(path).text)
        assert found
        return found[1]

    def of_our_mistakes(self, client: httpx.Client, secret: str) -> None:
        """Sends keys and a picture to pages that fail: tables that they need have other names for a moment."""
        path, tenant = "/admin/providers/credential/add/", self.sightline.rows("SELECT id FROM accounts_tenant")[0][0]
        form = {"csrfmiddlewaretoken": self.token(client, path), "tenant": str(tenant)}
        form |= {"provider": "modash", "label": secret[-2:], "secret": secret}
        order = {"lookups": [{"source": "tiktok-creators", "limit": 3}], "max_age": 0}
        with self.without("providers_credential"):
            self.failed(client.post(path, data=form))
        with self.without("searches_search"):
            self.failed(self.search(client, order))

    @contextmanager
    def without(self, table: str) -> Iterator[None]:
        self.sightline.rows(f"ALTER TABLE {table} RENAME TO away")
        yield
        self.sightline.rows(f"ALTER TABLE away RENAME TO {table}")

    def failed(self, answer: httpx.Response) -> None:
        assert answer.status_code == 500, answer.text[:500]
        self.keep(f"an error of {answer.url}", answer)

    def keep(self, place: str, answer: httpx.Response) -> None:
        self.answers.append((place, f"{dict(answer.headers)} {answer.text}"))


@contextmanager
def debugging(sightline: Sightline) -> Iterator[httpx.Client]:
    """Runs a second web server, which shows debug pages."""
    port = str(ports.chosen("PORT", 0))
    sightline._start(Program, "web-debug", granian("config.wsgi:application", port, threads=8), DEBUG="true")
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        wait_until(lambda: processes.answers(client, "/healthz"))
        yield client


def forms_of(secret: bytes) -> set[bytes]:
    """Returns the forms in which bytes may be written: as they are, escaped, in hexadecimal digits, and in base64 wherever they
    begin.
    """
    shifted = (base64.b64encode(b"\0" * shift + secret)[4 : -4 if len(secret) > 12 else None] for shift in range(3))
    return {secret, repr(secret)[2:-1].encode(), secret.hex().encode(), *shifted}


def pictures_of(folder: Path) -> list[bytes]:
    files = [path.read_bytes() for path in (folder / "pictures").rglob("*") if path.is_file()]
    return [content[len(content) // 2 :][:CHUNK] for content in files]


def logs_of(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Yields the logs of our processes and of the servers."""
    for path in folder.rglob("*"):
        if path.is_file() and ("log" in path.name or path.suffix == ".log"):
            yield str(path), path.read_bytes()


@pytest.mark.long
def test_no_key_and_no_picture_of_a_run_is_anywhere_else(sightline: Sightline) -> None:
    operator = httpx.Client(base_url=sightline.api.base_url, timeout=60)
    run = Run(sightline, operator)
    with operator, heard(sightline) as commands, receiver(lambda _: 204) as hooks:
        run.of_a_tenant(hooks.url)
        run.of_an_operator()
        run.of_our_mistakes(operator, PROVIDER_KEYS[2])
        with debugging(sightline) as client:
            run.sign_in(client)
            run.of_our_mistakes(client, PROVIDER_KEYS[3])
    each_list_was_walked(run)

    places = [(place, text.encode()) for place, text in run.answers]
    places += [("Redis' monitor", "\n".join(commands).encode()), *logs_of(sightline.folder), *keys(sightline)]
    places += tables(sightline, run.secrets)
    shown = [form for secret in run.secrets for form in forms_of(secret.encode())]
    shown += [form for picture in pictures_of(sightline.folder) for form in forms_of(picture)]
    assert len(shown) > 40
    assert {place for place, content in places for form in shown if form in content} == set()
    what_is_searched_is_not_empty(run, commands, dict(places))


def each_list_was_walked(run: Run) -> None:
    lists = {reverse(f"admin:{m._meta.app_label}_{m._meta.model_name}_changelist") for m in admin.site._registry}
    assert lists - run.pages == set()
    assert len([page for page in run.pages if page.endswith("/change/")]) > 15


def what_is_searched_is_not_empty(run: Run, commands: list[str], places: dict[str, bytes]) -> None:
    """Shows that the search would find something: messages, debug pages and lines of DEBUG are there."""
    assert any("sweep_lanes" in command or "celery" in command for command in commands)
    errors = [text for place, text in run.answers if place.startswith("an error")]
    assert [("Traceback" in text, "ProgrammingError" in text) for text in errors].count((True, True)) >= 1
    log = b"".join(content for place, content in places.items() if place.endswith((".log", "web")))
    assert b" DEBUG " in log
    assert b"ProgrammingError" in log
