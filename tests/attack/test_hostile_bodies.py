"""Attacks with bodies that are costly to parse, which must be refused without making others wait."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.api.test_large_bodies import SHAPES
from tests.attack.conftest import Bystander

pytestmark = pytest.mark.chaos
KIB, MIB = 1024, 1024 * 1024
PATHS = ("/v1/searches", "/v1/images", "/v1/webhook-endpoints", "/v1/credentials")
AT_ONCE = 8


@pytest.mark.parametrize("size", [60 * KIB, MIB, 28 * MIB])
def test_hostile_bodies_cost_nobody_else_anything(bystander: Bystander, alices_key: str, size: int) -> None:
    headers = {"Authorization": f"Bearer {alices_key}", "Content-Type": "application/json"}

    def send(path: str, body: bytes) -> int | None:
        try:
            return httpx.post(
                bystander.url + path, content=body, headers=headers, timeout=60, trust_env=False
            ).status_code
        except httpx.TransportError:
            # The server may answer and close the connection before it has the whole body.
            return None

    with bystander.watching(), ThreadPoolExecutor(AT_ONCE) as pool:
        sent = [pool.submit(send, path, shape(size)) for shape in SHAPES.values() for path in PATHS]
        statuses = {sending.result() for sending in sent}
    assert statuses <= {400, 413, 429, 503, None}
    assert statuses & {400, 413}
