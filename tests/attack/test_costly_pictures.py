"""Attacks with twelve costly pictures at once, while another tenant's photographs must be read all the same."""

from __future__ import annotations

import threading
from collections.abc import Callable

import httpx
import pytest
from PIL import Image

from tests.attack.conftest import Bystander
from tests.searches import samples

pytestmark = pytest.mark.chaos
AT_ONCE = 12
SIZE = (8_160, 6_000)


def many_scans(scans: int = 80) -> bytes:
    """Returns a JPEG of a few hundred kilobytes, each of whose scans is a pass over 49 megapixels."""
    whole = few_scans()
    last = whole.rindex(b"\xff\xda")
    return whole[:-2] + whole[last:-2] * scans + whole[-2:]


def few_scans() -> bytes:
    return samples.written(samples.plain_picture(*SIZE), "JPEG", progressive=True)


def tiny_webp() -> bytes:
    """Returns a picture of about forty bytes."""
    return samples.written(Image.new("RGBA", SIZE, (1, 2, 3, 77)), "WEBP", lossless=True, quality=0, method=0)


def send(bystander: Bystander, key: str, content: bytes) -> int:
    headers = {"Authorization": f"Bearer {key}"}
    files = {"image": ("picture", content, "application/octet-stream")}
    return httpx.post(
        f"{bystander.url}/v1/images", headers=headers, files=files, timeout=120, trust_env=False
    ).status_code


@pytest.mark.parametrize("make", [many_scans, few_scans, tiny_webp, samples.png_bomb, samples.text_bomb])
def test_costly_pictures_do_not_delay_those_of_other_tenants(
    bystander: Bystander, alices_key: str, make: Callable[[], bytes]
) -> None:
    costly = make()
    # The bytes behind the end differ, so that no picture is stored already.
    attack = [costly + bytes((number,)) * 9 for number in range(AT_ONCE)]
    photographs = [
        samples.written(Image.new("RGB", (4_000, 3_000), (number, 9, len(costly) % 256)), "JPEG") for number in range(3)
    ]
    said: list[int] = []
    threads = [
        threading.Thread(target=lambda content=content: said.append(send(bystander, alices_key, content)))
        for content in attack
    ]
    with bystander.watching():
        for thread in threads:
            thread.start()
        taken = [send(bystander, bystander.key, photograph) for photograph in photographs]
        for thread in threads:
            thread.join()
    assert taken == [201] * len(photographs)
    assert len(said) == AT_ONCE
    assert set(said) <= {201, 400, 429, 503}
