"""Alice, ready to search: her keys to our API, and hers to the provider."""

from __future__ import annotations

import pytest
from pytest_django import Settings
from rest_framework.test import APIClient

from accounts.models import Mode, Tenant
from providers.keyring import credentials
from tests.conftest import ClientOf


@pytest.fixture(autouse=True)
def nowhere(settings: Settings) -> None:
    """No test calls a real provider by mistake: nobody listens there."""
    settings.MODASH_BASE_URL = "http://127.0.0.1:9"


@pytest.fixture
def api(alice: Tenant, client_of: ClientOf) -> APIClient:
    """Alice with a live key."""
    credentials.store(alice, "modash", "alices-modash-key")
    return client_of(alice)


@pytest.fixture
def sandbox(alice: Tenant, client_of: ClientOf) -> APIClient:
    """Alice with a test key."""
    return client_of(alice, Mode.TEST)


@pytest.fixture
def stranger(charlie: Tenant, client_of: ClientOf) -> APIClient:
    return client_of(charlie)
