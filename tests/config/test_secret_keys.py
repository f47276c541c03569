"""Tests keys: those of development are random and kept, those of production cannot be guessed."""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import secret_keys
from tests import programs
from tests.config.conftest import Read

KEY = secrets.token_urlsafe(50)
KEYRING = "2026-1:" + base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def test_development_keys_are_random_and_kept_for_their_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "state" / "SECRET_KEY"
    key = secret_keys.kept(file, lambda: secrets.token_urlsafe(50))
    assert secret_keys.kept(file, lambda: "another") == key
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["SECRET_KEY"]


def test_programs_that_start_at_once_agree_on_one_key(tmp_path: Path) -> None:
    program = "import sys; from pathlib import Path; from config import secret_keys; import secrets; sys.stdin.read()"
    program += "; print(secret_keys.kept(Path(sys.argv[1]), lambda: secrets.token_urlsafe(50)))"
    command = [sys.executable, "-c", program, str(tmp_path / "state" / "SECRET_KEY")]
    racing = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=programs.CHECKOUT)
        for _ in range(6)
    ]
    said = {process.communicate()[0].strip() for process in racing}
    assert len(said) == 1
    assert len(said.pop()) > 60


def test_an_emptied_key_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "SECRET_KEY").touch()
    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY is empty: remove it"):
        secret_keys.kept(tmp_path / "SECRET_KEY", lambda: "another")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another account")
def test_another_accounts_key_costs_one_line() -> None:
    program = "import os, sys; from pathlib import Path; from config import secret_keys; file = Path(sys.argv[1])"
    program += "; secret_keys.kept(file, lambda: 'mine'); os.setuid(65534); secret_keys.kept(file, lambda: 'another')"
    with programs.state_folder() as folder:
        command = [sys.executable, "-c", program, str(folder / "SECRET_KEY")]
        tried = subprocess.run(command, cwd=programs.CHECKOUT, capture_output=True, text=True, check=False)
    said = tried.stderr.splitlines()[-1]
    assert said.endswith(
        "SECRET_KEY cannot be used (Permission denied): set SECRET_KEY, or STATE_DIR to a folder of yours."
    )


WEAK = {
    "x": "short",
    secrets.token_urlsafe(36): "short",
    "a" * 60: "one character",
    "ab" * 30: "two",
    "abcdefghij" * 6: "repeated",
    "password123" * 6: "repeated",
    "0123456789abcdef" * 4: "repeated",
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ": "counted up",
    f"django-insecure-{secrets.token_urlsafe(50)}": "a placeholder",
    f"CHANGE-ME-{secrets.token_urlsafe(50)}": "a placeholder",
}


@pytest.mark.parametrize("key", WEAK, ids=WEAK.values())
def test_production_refuses_a_key_that_can_be_guessed(read: Read, key: str) -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"^SECRET_KEY can be guessed: it must be 50 random characters or more\."
    ):
        read(PRODUCTION="true", SECRET_KEY=key)


@pytest.mark.parametrize("make", [secrets.token_urlsafe, secrets.token_hex])
def test_no_random_key_is_taken_for_a_guessable_one(make: type[str]) -> None:
    assert not any(secret_keys.is_guessable(make(32 + 6).encode(), least_bytes=50) for _ in range(2000))
    assert not any(secret_keys.is_guessable(secrets.token_bytes(32), least_bytes=32) for _ in range(2000))


def keyring(*keys: bytes) -> str:
    return ",".join(f"k{number}:{base64.urlsafe_b64encode(key).decode()}" for number, key in enumerate(keys))


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ("x", r"entry 1 is not id:key"),
        (secrets.token_urlsafe(32), "entry 1 is not id:key"),
        ("a:", "entry 1 is not id:key"),
        ("a:b:c", "entry 1 is not id:key"),
        (keyring(secrets.token_bytes(16)), "entry 1 is not id:key"),
        (keyring(secrets.token_bytes(33)), "entry 1 is not id:key"),
        (keyring(secrets.token_bytes(32)).replace("k0", "k 0"), "entry 1 is not id:key"),
        (keyring(secrets.token_bytes(32)).replace("k0", "ключ"), "entry 1 is not id:key"),
        (keyring(secrets.token_bytes(32)).replace("k0", "k" * 65), "entry 1 is not id:key"),
        (f"{KEYRING},", "entry 2 is not id:key"),
        (f"{KEYRING},{KEYRING}", "entry 2 has the id of an earlier entry"),
        (keyring(secrets.token_bytes(32), bytes(32)), "the key of entry 2 can be guessed"),
        (keyring(bytes(range(32))), "the key of entry 1 can be guessed"),
        (keyring(b"0123456789abcdef" * 2), "the key of entry 1 can be guessed"),
    ],
    # The values differ in each process, and the workers of a run must agree on the names of its tests.
    ids=range(14),
)
def test_production_names_the_entry_of_a_wrong_sealing_key(read: Read, given: str, problem: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=f"^CREDENTIAL_KEYS: {problem}") as error:
        read(PRODUCTION="true", CREDENTIAL_KEYS=given)
    assert given not in str(error.value) or len(given) < 5
