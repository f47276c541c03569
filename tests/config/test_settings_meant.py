"""Tests that a setting is understood in whatever form it is given, or refused in one sentence."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from config.environment import BASE_DIR
from tests.config.conftest import SAMPLES, Read

PRODUCTION = {
    "PRODUCTION": "true",
    "PUBLIC_URL": SAMPLES["PUBLIC_URL"],
    "DATABASE_URL": SAMPLES["DATABASE_URL"],
    "REDIS_URL": SAMPLES["REDIS_URL"],
}


@pytest.mark.parametrize(
    ("name", "given", "meant"),
    [
        ("PUBLIC_URL", "https://sightline.example.com/", "https://sightline.example.com"),
        ("PUBLIC_URL", "HTTPS://Sightline.Example.COM:443", "https://sightline.example.com"),
        ("PUBLIC_URL", "http://127.0.0.1:80/", "http://127.0.0.1"),
        ("PUBLIC_URL", "http://localhost:8000", "http://localhost:8000"),
        ("PUBLIC_URL", "http://[0:0::1]:8000", "http://[::1]:8000"),
        ("PUBLIC_URL", "https://bücher.example", "https://xn--bcher-kva.example"),
        ("MODASH_BASE_URL", "https://api.modash.io/v1/", "https://api.modash.io/v1"),
        ("KEYAPI_BASE_URL", "https://API.keyapi.ai:443", "https://api.keyapi.ai"),
        ("MEMORIES_BASE_URL", "", ""),
        ("SANDBOX_URL", "http://sandbox:8010/", "http://sandbox:8010"),
        ("LOG_LEVEL", "debug", "DEBUG"),
        ("PRODUCTION", "False", False),
        ("DEBUG", "ON", True),
        ("PORT", "08000", 8000),
        ("OUTBOUND_PORTS", "80, 443,,80", [80, 443]),
        ("WEBHOOK_PAUSES", "0, 0, 1.5", [0.0, 0.0, 1.5]),
        ("STATE_DIR", "elsewhere", BASE_DIR / "elsewhere"),
    ],
)
def test_a_setting_is_taken_as_it_is_meant(read: Read, name: str, given: str, meant: Any) -> None:
    assert read(**{name: given})[name] == meant


@pytest.mark.parametrize(
    ("name", "given"),
    [
        *(
            ("PUBLIC_URL", wrong)
            for wrong in ("sightline.example.com", "ftp://x", "https://x/path", "https://x?q=1", "https://")
        ),
        *(
            ("PUBLIC_URL", wrong)
            for wrong in ("https://u:p@x", "https://x#f", "https://x:0", "https://x:99999", "https://x:y")
        ),
        *(
            ("PUBLIC_URL", wrong)
            for wrong in ("https://*.example.com", "https://999.1.1.1", "https://-x-.example", "x:8000")
        ),
        *(("ALLOWED_HOSTS", wrong) for wrong in ("*", "x,*", "https://x", "x:8000", "x/y", "[::1", ",", ".", "..x")),
        *(("PORT", wrong) for wrong in ("0", "65536", "80.0", "+-1", "8 0")),
        *(("WEBHOOK_PAUSES", wrong) for wrong in ("5,-1", "nan", "5,,5", "99999999", ",".join(["1"] * 101))),
        *(("OUTBOUND_ALLOW", wrong) for wrong in ("10.0.0.1/8", "10.0.0.0/33", "example.com", "::/129")),
        *(("OUTBOUND_PORTS", wrong) for wrong in ("0", "80;443", "65536", ",")),
        *(
            ("MODASH_BRANDS_PATH", wrong)
            for wrong in ("brands", "https://x/brands", "//x/brands", "/bra nds", "/b?x=1")
        ),
        *(
            (name, wrong)
            for name in ("STORAGE_DIR", "STATE_DIR")
            for wrong in (__file__, f"{__file__}/x", "~nosuchuser/x", "x" * 300, "none/" + "é" * 150, "/dev/null/x")
        ),
        *(("STORAGE_DIR", wrong) for wrong in ("/proc/1/mem/x/y", "/tmp/" + "x/" * 3000)),
        *(("WEBHOOK_THREADS", wrong) for wrong in ("1", "1e9", "1000000000", "2.5")),
        *(("REDIS_TIMEOUT_SECONDS", wrong) for wrong in ("0", "-1", "inf", "1e3", "1,5")),
        *(("LOG_LEVEL", wrong) for wrong in ("VERBOSE", "10")),
    ],
)
def test_a_wrong_value_costs_one_line(read: Read, name: str, given: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=rf"^{name} must be [^\n]*\.$"):
        read(**{name: given})


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ({}, {"localhost", "127.0.0.1", "[::1]"}),
        ({"PUBLIC_URL": "http://Dev.example.com:8000"}, {"localhost", "127.0.0.1", "[::1]", "dev.example.com"}),
        (PRODUCTION, {"sightline.example.com"}),
        (
            PRODUCTION | {"ALLOWED_HOSTS": "API.example.com., .example.org, ::1, 10.0.0.1"},
            {"api.example.com", ".example.org", "[::1]", "10.0.0.1"},
        ),
    ],
)
def test_only_named_hosts_are_accepted(read: Read, given: dict[str, str], allowed: set[str]) -> None:
    assert set(read(**given)["ALLOWED_HOSTS"]) == allowed


@pytest.mark.parametrize("name", [*sorted(PRODUCTION.keys() - {"PRODUCTION"}), "SECRET_KEY", "CREDENTIAL_KEYS"])
def test_production_needs_each_of_its_settings(read: Read, name: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=rf"^{name} is not set\. Production needs it"):
        read(**PRODUCTION | {name: " "})


def test_production_refuses_debug_and_an_address_without_tls(read: Read) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^DEBUG must not be true where PRODUCTION is"):
        read(**PRODUCTION, DEBUG="true")
    with pytest.raises(ImproperlyConfigured, match=r"^PUBLIC_URL must be .* with https"):
        read(**PRODUCTION | {"PUBLIC_URL": "http://sightline.example.com"})


@pytest.mark.parametrize(
    ("name", "opens"),
    [
        *(
            ("OUTBOUND_ALLOW", wide)
            for wide in ("0.0.0.0/0", "128.0.0.0/1", "::/0", "10.1.0.0/16,0.0.0.0/4", "fc00::/7")
        ),
        *(("OUTBOUND_ALLOW", here) for here in ("127.0.0.0/8", "127.0.0.1", "::1", "169.254.169.254", "169.0.0.0/8")),
        *(
            ("OUTBOUND_ALLOW", odd)
            for odd in ("::ffff:127.0.0.1", "fe80::/64", "fd00::/8", "100.64.0.0/10", "0.0.0.0/8")
        ),
        *(("PROXIES", wide) for wide in ("0.0.0.0/0", "::/0", "10.0.0.0/8,0.0.0.0/1,128.0.0.0/1", "2000::/3")),
        *(("ALLOWED_HOSTS", wide) for wide in (".com", "x.example.com,.COM.", ".localhost", ".co.uk", ".com.br")),
    ],
)
def test_production_takes_no_setting_that_opens_it(read: Read, name: str, opens: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=rf"^{name}: [^\n]*; name [^\n]*\.$"):
        read(**PRODUCTION, **{name: opens})
    assert read(**{name: opens})[name]


def test_production_takes_networks_and_names_of_its_own(read: Read) -> None:
    own = {"OUTBOUND_ALLOW": "10.0.0.0/8,fd00:1::/32", "PROXIES": "10.0.0.0/8,127.0.0.1,fd00::/8"}
    taken = read(**PRODUCTION, **own, ALLOWED_HOSTS=".example.com")
    assert (len(taken["OUTBOUND_ALLOW"]), len(taken["PROXIES"])) == (2, 3)
    assert taken["ALLOWED_HOSTS"] == [".example.com"]


def test_options_of_the_address_are_passed_on(read: Read) -> None:
    url = "postgresql://app@x/app?options=-c%20work_mem%3D8MB&sslmode=require"
    options = read(DATABASE_URL=url)["DATABASES"]["default"]["OPTIONS"]
    assert (options["options"], options["sslmode"]) == ("-c work_mem=8MB", "require")
