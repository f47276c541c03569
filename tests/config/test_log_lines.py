"""Each line of the log names what it is about: the request that it was logged for, or in a worker the search and the lookup."""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any

import pytest
from django.conf import settings
from django.test import Client
from django.utils.module_loading import import_string

from accounts import log_context

log = logging.getLogger("tests")


@contextmanager
def lines() -> Iterator[io.StringIO]:
    """Yields what a handler with the format and the filters of the settings writes."""
    configured: Any = settings.LOGGING
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter(configured["formatters"]["line"]["format"]))
    for name in configured["handlers"]["stderr"]["filters"]:
        handler.addFilter(import_string(configured["filters"][name]["()"])())
    logging.getLogger().addHandler(handler)
    try:
        yield stream
    finally:
        logging.getLogger().removeHandler(handler)


def test_a_line_of_a_request_has_the_id_that_its_answer_has(client: Client) -> None:
    with lines() as written:
        answer = client.get("/v1/nowhere", headers={"X-Request-Id": "mine-0123"})
        log.error("later")
    assert answer["X-Request-Id"] == "mine-0123"
    of_the_request, later = written.getvalue().splitlines()
    assert "WARNING django.request [request=mine-0123] Not Found" in of_the_request
    assert "ERROR tests later" in later


@pytest.mark.parametrize("sent", ["", "short", "two lines\nof one", "[request=forged-id]", "x" * 101])
def test_an_unusable_id_is_replaced(client: Client, sent: str) -> None:
    with lines() as written:
        answer = client.get("/v1/nowhere", headers={"X-Request-Id": sent})
    assert answer["X-Request-Id"] != sent
    assert f"[request={answer['X-Request-Id']}] " in written.getvalue()


def test_what_a_worker_is_about_is_named_until_it_is_done() -> None:
    with lines() as written:
        with log_context.about(search="a"), log_context.about(lookup="b"):
            log.error("inside")
            with ThreadPoolExecutor(1) as pool:
                pool.submit(copy_context().run, log.error, "beside").result()
        log.error("outside")
    told = [line.partition("tests ")[2] for line in written.getvalue().splitlines()]
    assert told == ["[search=a lookup=b] inside", "[search=a lookup=b] beside", "outside"]
