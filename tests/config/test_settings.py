"""Tests every setting with what people give it: nothing, blanks, blanks around it, and wrong values."""

from __future__ import annotations

import re

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import settings as configured
from config.environment import BASE_DIR
from providers import registry
from tests.config.conftest import SAMPLES, Read

NEVER = ["\x07", "a\u2028b"]
WORDS = ["ture", "nan", "inf", "1e9", "0x10", "1_000", "\N{ARABIC-INDIC DIGIT THREE}"]
ABSURD = [*NEVER, *WORDS, "-1", "9" * 30, "*", "://", "//", "http://", "a b"]
# Some settings accept some of these: any printable text is a key outside production, and the name of a folder.
POSSIBLE = {"SECRET_KEY": set(ABSURD) - set(NEVER), "ALLOWED_HOSTS": set(WORDS)}
POSSIBLE |= dict.fromkeys(("STATE_DIR", "STORAGE_DIR", "STATIC_DIR"), POSSIBLE["SECRET_KEY"])
COMPOSE = {"POSTGRES_PASSWORD", "VALKEY_PASSWORD", "WEB_BIND"}
COMPOSE |= {"TLS_PROXIES", "PYTHON_IMAGE", "POSTGRES_IMAGE", "VALKEY_IMAGE", "NGINX_IMAGE"}


def sample(name: str) -> str:
    return SAMPLES.get(name) or ("https://provider.example.com/v1" if name.endswith("_URL") else "60")


every_setting = pytest.mark.parametrize("name", sorted(configured.env.settings))


@every_setting
@pytest.mark.parametrize("nothing", ["", " ", "\t \n"])
def test_empty_is_unset(read: Read, name: str, nothing: str) -> None:
    assert read(keys=False, **{name: nothing}) == read(keys=False)


@every_setting
def test_blanks_around_a_value_are_no_part_of_it(read: Read, name: str) -> None:
    assert read(**{name: f"\t {sample(name)} \r\n"}) == read(**{name: sample(name)})


@every_setting
@pytest.mark.parametrize("absurd", ABSURD)
def test_an_absurd_value_costs_one_line_that_names_the_setting(read: Read, name: str, absurd: str) -> None:
    if absurd in POSSIBLE.get(name, ()):
        read(**{name: absurd})
        return
    with pytest.raises(ImproperlyConfigured) as error:
        read(**{name: absurd})
    said = str(error.value)
    assert said.startswith(name)
    assert "\n" not in said


def test_the_example_has_every_setting_and_no_other() -> None:
    lines = (BASE_DIR / ".env.example").read_text().splitlines()
    named = {found[1] for line in lines if (found := re.match(r"#?([A-Z][A-Z0-9_]*)=", line))}
    assert named == {*configured.env.settings} | COMPOSE


def test_each_provider_can_be_called_elsewhere() -> None:
    wanted = {adapter.base_url_setting for adapter in registry.PROVIDERS.values()}
    assert wanted == {name for name in configured.env.settings if name.endswith("_BASE_URL")}
