"""Who the tests know: Alice, who owns what a test makes; Bob, another customer in the same lanes; Charlie, a stranger to
both who must see nothing. And a storage of each test's own.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from django.db import connection
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts import keys
from accounts.models import Mode, Tenant

ClientOf = Callable[..., APIClient]


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings: None) -> None:
    """Most tests are one transaction, and may take longer than one of a worker's may stand idle."""
    connection.settings_dict["OPTIONS"]["options"] = "-c idle_in_transaction_session_timeout=0"


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
    """Whose lookups all ask the provider: most tests send one picture again and again, and mean it."""
    return Tenant.objects.create(name=name, max_age=0)


@pytest.fixture
def client_of() -> ClientOf:
    """A client that sends a fresh key of the tenant: `client_of(alice)`, `client_of(alice, Mode.TEST)`."""

    def client_of(tenant: Tenant, mode: Mode = Mode.LIVE) -> APIClient:
        _, secret = keys.issue(tenant, mode)
        return APIClient(headers={"Authorization": f"Bearer {secret}"})

    return client_of


@pytest.fixture(autouse=True)
def failing_receivers(settings: Settings) -> None:
    """All tests' receivers are at one address, and many of them fail."""
    settings.WEBHOOK_TARGET_FAILURES_PER_MINUTE = 100_000


@pytest.fixture(autouse=True)
def storage(settings: Settings, tmp_path: Path) -> Path:
    """Where this test's pictures lie."""
    folder = tmp_path / "pictures"
    local = {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(folder)}}
    settings.STORAGES = {**settings.STORAGES, "default": local}
    return folder
