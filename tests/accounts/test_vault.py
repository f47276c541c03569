from __future__ import annotations

import base64

import pytest
from django.core.exceptions import ImproperlyConfigured
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from accounts import vault

SECRET = "provider-key-0123456789"
KEYS = [base64.urlsafe_b64encode(bytes([number]) * 32).decode() for number in range(3)]


@given(st.text(), st.text())
def test_what_is_sealed_opens_for_its_owner(plaintext: str, associated: str) -> None:
    assert vault.open(vault.seal(plaintext, associated=associated), associated=associated) == plaintext


def test_a_sealed_value_opens_for_its_owner_only() -> None:
    sealed = vault.seal(SECRET, associated="alice:modash")
    for other in ("bob:modash", "alice:keyapi", ""):
        with pytest.raises(vault.Unopenable):
            vault.open(sealed, associated=other)


def test_the_same_secret_is_sealed_differently_each_time() -> None:
    assert vault.seal(SECRET, associated="a") != vault.seal(SECRET, associated="a")


def test_the_sealed_form_does_not_show_the_secret() -> None:
    assert SECRET.encode() not in vault.seal(SECRET, associated="a")


def test_no_changed_or_cut_bit_opens() -> None:
    sealed = vault.seal(SECRET, associated="a")
    changed = [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(len(sealed))]
    cut = [sealed[:length] for length in range(len(sealed))]
    for wrong in changed + cut:
        with pytest.raises(vault.Unopenable):
            vault.open(wrong, associated="a")


def test_an_older_key_still_opens_while_the_first_one_seals(settings: Settings) -> None:
    settings.CREDENTIAL_KEYS = f"old:{KEYS[0]}"
    before = vault.seal(SECRET, associated="a")
    settings.CREDENTIAL_KEYS = f"new:{KEYS[1]}, old:{KEYS[0]}"
    after = vault.seal(SECRET, associated="a")
    assert vault.open(before, associated="a") == vault.open(after, associated="a") == SECRET
    settings.CREDENTIAL_KEYS = f"new:{KEYS[1]}"
    assert vault.open(after, associated="a") == SECRET
    with pytest.raises(vault.Unopenable, match="no longer names"):
        vault.open(before, associated="a")


def test_a_key_under_the_id_of_another_opens_nothing(settings: Settings) -> None:
    settings.CREDENTIAL_KEYS = f"a:{KEYS[0]}"
    sealed = vault.seal(SECRET, associated="a")
    settings.CREDENTIAL_KEYS = f"a:{KEYS[1]}"
    with pytest.raises(vault.Unopenable):
        vault.open(sealed, associated="a")


@pytest.mark.parametrize(
    "setting",
    [
        "",
        KEYS[0],
        f":{KEYS[0]}",
        "a:",
        "a:short",
        f"a:{KEYS[0]}{KEYS[0]}",
        f"a:{KEYS[0]},",
        f"a:{KEYS[0]},a:{KEYS[1]}",
        f"not an id:{KEYS[0]}",
        f"a:{KEYS[0][:-4]}!!!=",
        "a:" + "ü" * 43,
    ],
)
def test_a_bad_setting_is_named_without_its_value(settings: Settings, setting: str) -> None:
    settings.CREDENTIAL_KEYS = setting
    with pytest.raises(ImproperlyConfigured) as refused:
        vault.seal(SECRET, associated="a")
    assert "CREDENTIAL_KEYS" in str(refused.value)
    assert not any(part in str(refused.value) for part in [*KEYS, SECRET, "short", "not an id"])
    assert refused.value.__cause__ is None


def test_a_fingerprint_survives_new_sealing_keys_and_differs_between_secrets(settings: Settings) -> None:
    before = vault.fingerprint(SECRET)
    settings.CREDENTIAL_KEYS = f"new:{KEYS[1]}"
    assert vault.fingerprint(SECRET) == before
    assert vault.fingerprint(SECRET + "0") != before
    settings.SECRET_KEY = "another deployment"
    assert vault.fingerprint(SECRET) != before
