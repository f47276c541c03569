"""The end of an address is read where it is said in a known form, and never guessed."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers import media_expiry

AT = datetime(2026, 12, 1, 12, 0, 0, tzinfo=UTC)
UNIX = int(AT.timestamp())
SAID = {
    "TikTok": f"p16-sign-va.tiktokcdn.com/o~c5_720x720.jpeg?x-expires={UNIX}&x-signature=a%2Bb%3D",
    "S3 2": f"b.s3.amazonaws.com/p.jpg?AWSAccessKeyId=A&Expires={UNIX}&Signature=s%3D",
    "S3 4": "b.s3.amazonaws.com/p.jpg?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Date=20261130T120000Z&X-Amz-Expires=86400"
    "&X-Amz-SignedHeaders=host&X-Amz-Signature=00ff",
    "CloudFront": f"d1.cloudfront.net/p.jpg?Expires={UNIX}&Signature=s__&Key-Pair-Id=K",
    "Google 2": f"storage.googleapis.com/b/p.jpg?GoogleAccessId=a%40b&Expires={UNIX}&Signature=s",
    "Google 4": "storage.googleapis.com/b/p.jpg?X-Goog-Date=20261201T110000Z&X-Goog-Expires=3600&X-Goog-Signature=00ff",
    "OSS 1": f"b.oss-cn-hangzhou.aliyuncs.com/p.jpg?OSSAccessKeyId=A&Expires={UNIX}&Signature=s",
    "OSS 4": "b.oss-cn-hangzhou.aliyuncs.com/p.jpg?x-oss-date=20261201T110000Z&x-oss-expires=3600&x-oss-signature=00ff",
    "TOS": "echosell-images.tos-ap-southeast-1.volces.com/p.jpeg?X-Tos-Date=20261130T120000Z&X-Tos-Expires=86400"
    "&X-Tos-Signature=00ff",
    "Azure": "a.blob.core.windows.net/c/p.jpg?sv=2024-11-04&se=2026-12-01T12%3A00%3A00Z&sr=b&sig=s%3D",
    "Meta": f"scontent.cdninstagram.com/v/p.jpg?_nc_ht=a&oh=00_s&oe={UNIX:X}",
}


@pytest.mark.parametrize("address", SAID.values(), ids=SAID)
def test_the_end_that_an_address_says_is_read(address: str) -> None:
    assert media_expiry.of(f"https://{address}") == AT


@pytest.mark.parametrize("address", SAID.values(), ids=SAID)
def test_without_its_signature_an_address_says_nothing(address: str) -> None:
    path, _, query = address.partition("?")
    for name in ("x-signature", "signature", "x-amz-signature", "x-goog-signature", "x-oss-signature"):
        unsigned = [part for part in query.split("&") if part.partition("=")[0].lower() != name]
        blank = [part if part in unsigned else part.partition("=")[0] + "=" for part in query.split("&")]
        if len(unsigned) < len(query.split("&")):
            assert media_expiry.of(f"https://{path}?{'&'.join(unsigned)}") is None
            assert media_expiry.of(f"https://{path}?{'&'.join(blank)}") is None


@pytest.mark.parametrize(
    "address",
    [
        None,
        "",
        "https://imgigp.modash.io/22159423_n.jpg",
        "tos://echosell-images/product-cover/649/1731083827559830517_0.jpeg",
        f"https://p.example/p.jpg?expires={UNIX}",
        f"https://p.example/p.jpg?x-expires={UNIX}",
        f"https://p.example/p.jpg?oh=00_s&oe={UNIX:x}",
        f"https://p.example/p.jpg?x-expires={UNIX}000&x-signature=s",
        "https://p.example/p.jpg?x-expires=0&x-signature=s",
        "https://p.example/p.jpg?x-expires=-1764590400&x-signature=s",
        "https://p.example/p.jpg?x-expires=1000000000&x-signature=s",
        "https://p.example/p.jpg?x-expires=9999999999&x-signature=s",
        "https://p.example/p.jpg?x-expires=never&x-signature=s",
        "https://p.example/p.jpg?x-expires=١٧٦٤٥٩٠٤٠٠&x-signature=s",
        f"https://p.example/p.jpg?x-expires={UNIX}&x-expires={UNIX + 1}&x-signature=s",
        "https://p.example/p.jpg?X-Amz-Date=20261130T120000Z&X-Amz-Expires=604801&X-Amz-Signature=s",
        "https://p.example/p.jpg?X-Amz-Date=20261130T120000Z&X-Amz-Expires=0&X-Amz-Signature=s",
        "https://p.example/p.jpg?X-Amz-Date=20261330T120000Z&X-Amz-Expires=60&X-Amz-Signature=s",
        "https://p.example/p.jpg?X-Amz-Date=2026113T120000Z&X-Amz-Expires=60&X-Amz-Signature=s",
        "https://p.example/p.jpg?X-Amz-Expires=60&X-Amz-Signature=s",
        "https://p.example/p.jpg?sv=1&sig=s&se=2026-12-01",
        "https://[::1/p.jpg?x-expires=1764590400&x-signature=s",
    ],
)
def test_nothing_is_guessed(address: str | None) -> None:
    assert media_expiry.of(address) is None


def test_of_two_ends_the_earlier_one_counts() -> None:
    both = f"https://p.example/p.jpg?x-expires={UNIX}&x-signature=s&AWSAccessKeyId=A&Expires={UNIX - 60}&Signature=s"
    assert media_expiry.of(both) == datetime.fromtimestamp(UNIX - 60, UTC)


@given(st.text(max_size=200), st.sampled_from(list(SAID.values())), st.integers(0, 200))
def test_any_address_is_answered_without_an_error(odd: str, address: str, at: int) -> None:
    found = media_expiry.of(f"https://{address[:at]}{odd}{address[at:]}")
    assert found is None or media_expiry.EARLIEST <= found < media_expiry.LATEST
