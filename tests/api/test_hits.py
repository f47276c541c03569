"""Hits of every adapter have the form that the API promises for their type."""

from __future__ import annotations

import pytest
from rest_framework.serializers import Serializer

from providers import registry
from providers.contract import Hit
from searches.api.result_serializers import ResultSerializer
from tests.providers.asking import SOURCES, ask
from tests.providers.conftest import granian_sandbox


def parts(hit: Hit) -> set[str]:
    part = ResultSerializer().fields[hit.type]
    assert isinstance(part, Serializer)
    return set(part.fields)


def loosely(source: str) -> dict[str, float]:
    """Returns parameters under which any picture finds something."""
    return {"similarity": 0.0} if "similarity" in registry.adapter(source).parameters().fields else {}


@pytest.mark.django_db
def test_the_detail_of_a_hit_is_what_its_type_promises() -> None:
    with granian_sandbox(latency_ms=0) as url:
        found = {source: ask(source, url, f"key-{source}", **loosely(source)).hits for source in SOURCES}
    for source, hits in found.items():
        assert hits, source
        assert {hit.type for hit in hits} == {registry.adapter(source).result_type}
        assert all(set(hit.detail) == parts(hit) for hit in hits), source
