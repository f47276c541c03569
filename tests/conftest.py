"""Provides the people of the tests: Alice owns what a test makes, Bob is another customer in the same lanes, and Charlie is a
stranger who must see nothing of either. Each test has a picture storage of its own.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.management.commands import flush
from django.db import connection
from django.test import override_settings
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import Mode, Tenant
from config.postgresql.base import DatabaseOperations
from tests import flushing

ClientOf = Callable[..., APIClient]


# The files that take longest, and the longest first. One that began last would keep one worker busy while the others have nothing
# left.
LONGEST = [
    *(
        "config/test_launcher",
        "config/test_documents",
        "test_bad_days",
        "fuzz/test_document",
        "test_demo",
    ),
    *("admin/test_odd_requests", "test_left_behind", "config/test_embedded"),
    *("calls/test_magic_keys", "pictures/test_table", "sandbox/test_magic_keys", "config/test_production"),
    *("admin/test_browser", "api/test_waiting", "admin/test_pages", "calls/test_documented_errors"),
    *("adapters/test_odd_answers", "attack/test_kept_connections", "api/test_caps", "config/test_starts"),
    *("webhooks/test_dispatcher", "coalescing/test_follower_races", "lanes/test_fairness", "providers/test_limiter"),
    *("api/test_all_at_once", "clients/test_clients", "reconciliation/test_readings", "api/test_openapi_examples"),
    *("billing/test_ledger_laws", "keyring/test_free_calls", "api/test_erase_races"),
]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lets the longest files begin first, in whatever order the others are."""
    items.sort(key=lambda item: rank(item.path))


@functools.cache
def rank(file: Path) -> int:
    """Returns a number that is the higher the later the tests of the file may begin."""
    name = str(file.with_suffix(""))
    return next((place for place, end in enumerate(LONGEST) if name.endswith(f"/{end}")), len(LONGEST))


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """Lets transactions be idle for longer than in production, because most tests are one transaction. Lets the threads of a race
    wait for a connection for longer too: they are more than there are connections, and each has its own until it is done.
    """
    options = connection.settings_dict["OPTIONS"]
    options["options"] = "-c idle_in_transaction_session_timeout=0"
    options["pool"]["timeout"] = 600


@pytest.fixture(scope="session", autouse=True)
def flushes_of_filled_tables() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(DatabaseOperations, "sql_flush", flushing.sql_flush)
        patch.setattr(flush, "emit_post_migrate_signal", flushing.make_rows_of_migrate)
        yield


@pytest.fixture
def alice(db: None) -> Tenant:
    return customer("Alice")


@pytest.fixture
def bob(db: None) -> Tenant:
    return customer("Bob")


@pytest.fixture
def charlie(db: None) -> Tenant:
    return customer("Charlie")


def customer(name: str) -> Tenant:
    """Creates a tenant whose lookups are never repeats, because most tests send one picture again and again."""
    return Tenant.objects.create(name=name, max_age=0)


@pytest.fixture
def client_of() -> ClientOf:
    """Returns a function that makes a client with a new API key: `client_of(alice)`, `client_of(alice, Mode.TEST)`."""

    def client_of(tenant: Tenant, mode: Mode = Mode.LIVE) -> APIClient:
        _, secret = keys.issue(tenant, mode)
        return APIClient(headers={"Authorization": f"Bearer {secret}"})

    return client_of


@pytest.fixture(scope="session", autouse=True)
def failing_receivers() -> Iterator[None]:
    """Raises the bound of failures: all tests' receivers are at one address, and many of them fail."""
    with override_settings(WEBHOOK_TARGET_FAILURES_PER_MINUTE=100_000):
        yield


@pytest.fixture(scope="session")
def storages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Yields folders that nothing has made yet. To make one for each of thousands of tests would take longer than most tests."""
    parent = tmp_path_factory.mktemp("pictures")
    return (parent / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def storage(settings: Settings, storages: Iterator[Path]) -> Path:
    """Gives each test a folder of its own for pictures."""
    folder = next(storages)
    local = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(folder)}}
    settings.STORAGES = {**settings.STORAGES, "default": local}
    return folder
