"""Tests the demo's lines for lanes and results, and the file that it leaves."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from config.demo import html_report
from config.demo.report import Findings, Pace
from config.demo.sample_picture import SamplePicture
from providers.sandbox.meter import Meter


@given(
    gaps=st.lists(st.floats(min_value=0, max_value=3), min_size=1, max_size=40),
    most=st.integers(min_value=1, max_value=5),
    window=st.sampled_from([0.5, 1.0, 2.0]),
)
def test_a_kept_limit_is_never_used_by_more_than_100_percent(gaps: list[float], most: int, window: float) -> None:
    meter = Meter(calls=most, window=window)
    arrived = 0.0
    for gap in gaps:
        arrived += gap
        meter.admit("key", arrived)
    pace = Pace.of(meter.tally("key").shown(), {"calls": most, "window_ms": window * 1000})
    assert pace.use is None or 0 < pace.use <= 1.00001


@pytest.mark.parametrize(("calls", "seconds", "use"), [(7, 6.0, 1.0), (7, 6.12, 0.9804), (2, 2.0, 0.5), (1, 0.0, None)])
def test_the_use_of_a_limit_is_what_the_limit_alone_takes_of_the_time(
    calls: int, seconds: float, use: float | None
) -> None:
    pace = Pace(calls=calls, seconds=seconds, most=1, window_seconds=1.0)
    assert pace.use == (None if use is None else pytest.approx(use, abs=0.0001))


SCRIPT = "<script>alert(1)</script>"
ADDRESSES = [
    "javascript:alert(1)",
    "data:text/html,<b>",
    'https://x.example/" onclick="alert(1)',
    "https://x.example/'",
]


def content() -> bytes:
    file = BytesIO()
    Image.new("RGB", (60, 80), "teal").save(file, "JPEG")
    return file.getvalue()


def result(type: str, **other: Any) -> dict[str, Any]:
    detail = {
        "creator": {"username": SCRIPT, "followers_count": 12, "matched_posts": [{"thumbnail": "https://x.example/1"}]},
        "product": {"region": SCRIPT},
        "video": {"platform": SCRIPT, "moments": [{"start_seconds": 2.5}, {"start_seconds": None}]},
    }
    named = {"source": type, "type": type, "rank": 1, "title": f"{SCRIPT} & co", "url": None, "image_url": None}
    return {**named, type: detail[type], **other}


def found(*results: dict[str, Any]) -> Findings:
    sources = dict.fromkeys(each["source"] for each in results)
    lookups = [{"id": source, "source": source, "provider": "modash", "calls": 1} for source in sources]
    return Findings(lookups=lookups, results=list(results), calls=[], entries=[], balances={"modash": "9.5"}, rates={})


def page(*results: dict[str, Any], picture: bytes = b"") -> str:
    return html_report.html(SamplePicture(content=content(), title=SCRIPT), found(*results), lambda _: picture)


def test_the_file_needs_nothing_else_and_runs_nothing() -> None:
    shown = page(result("creator"), result("product"), result("video"), picture=content())
    policy = re.findall(r'Content-Security-Policy" content="(.*?)"', shown)
    assert len(policy) == 1
    assert policy[0].startswith("default-src &#x27;none&#x27;; img-src data:; style-src &#x27;sha256-")
    assert not re.search(r"<(script|link|iframe|object|embed|base|form)\b|\son\w+=|url\(|@import", shown)
    assert shown.count('src="data:image/webp;base64,') == shown.count("src=") == 2


def test_names_of_a_provider_are_texts_and_only_addresses_of_the_web_are_links() -> None:
    hostile = [result("creator", url=address, image_url=address) for address in ADDRESSES]
    shown = page(*hostile, result("video"))
    assert SCRIPT not in shown
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; co" in shown
    assert "Seen at 2.5 s" in shown
    assert set(re.findall(r'href="(.*?)"', shown)) <= {
        "https://x.example/&#x27;",
        "https://x.example/&quot; onclick=&quot;alert(1)",
    }


def test_what_is_no_picture_is_left_out() -> None:
    assert page(result("creator"), picture=b"GIF89a<script>").count("src=") == 1


def test_pictures_are_fetched_from_the_sandbox_alone() -> None:
    fetch = html_report.Pictures("http://127.0.0.1:9")
    for address in ("https://x.example/1.jpg", "http://127.0.0.1:9/_stats", "http://127.0.0.1:90/pictures/1.jpg"):
        assert fetch(address) == b""
    # Nobody listens there.
    assert fetch("http://127.0.0.1:9/pictures/1.jpg") == b""


def test_a_later_report_replaces_the_file(tmp_path: Path) -> None:
    sample = SamplePicture(content=content(), title="a picture")
    for count in (1, 2):
        file = html_report.write(tmp_path, sample, found(*[result("product")] * count), lambda _: b"")
    assert f"product: {count} found" in file.read_text()
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]
