"""Provides the people of the tests: Alice owns what a test makes, Bob is another customer in the same lanes, and Charlie is a
stranger who must see nothing of either. Each test has a picture storage of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.core.management.commands import flush
from django.db import connection
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import Mode, Tenant
from config.postgresql.base import DatabaseOperations
from tests import flushing

ClientOf = Callable[..., APIClient]


# The files that take longest. One that began last would keep one worker busy while the others have nothing left.
LONGEST = {
    "test_document",
    *(
        "test_bad_days",
        "test_left_behind",
        "test_launcher",
        "test_documents",
        "test_table",
        "test_demo",
        "test_caps",
        "test_pages",
    ),
    *("test_fairness", "test_free_calls", "test_waiting", "test_magic_keys", "test_follower_races", "test_ledger_laws"),
    "test_clients",
    "test_keys_left_behind",
}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Lets the longest files begin first, in whatever order the others are."""
    items.sort(key=lambda item: item.path.stem not in LONGEST)


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


@pytest.fixture(autouse=True)
def failing_receivers(settings: Settings) -> None:
    """Raises the bound of failures: all tests' receivers are at one address, and many of them fail."""
    settings.WEBHOOK_TARGET_FAILURES_PER_MINUTE = 100_000


@pytest.fixture(autouse=True)
def storage(settings: Settings, tmp_path: Path) -> Path:
    """Gives each test a folder of its own for pictures."""
    folder = tmp_path / "pictures"
    local = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(folder)}}
    settings.STORAGES = {**settings.STORAGES, "default": local}
    return folder
