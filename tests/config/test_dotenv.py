"""Tests that `.env` is read as docker compose reads it."""

from __future__ import annotations

from pathlib import Path

import pytest
from django.core.exceptions import ImproperlyConfigured

from config import dotenv, environment

SHELL = {"USER_NAME": "alice", "EMPTY": "", "STATE": "shell"}


def read(folder: Path, content: str | bytes) -> dict[str, str]:
    file = folder / ".env"
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return dotenv.read(file, SHELL)


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("KEY=12", "12"),
        ("KEY = 12", "12"),
        ("  KEY=12  ", "12"),
        ("\tKEY\t=\t12", "12"),
        ("KEY: 12", "12"),
        ("export KEY=12", "12"),
        ("export\tKEY = 12", "12"),
        ("\ufeffKEY=12", "12"),
        ("KEY=12\r\n", "12"),
        ("KEY=12 # a comment", "12"),
        ("KEY=12#no comment", "12#no comment"),
        ("KEY=#no comment", "#no comment"),
        ("KEY=", ""),
        ("KEY= ", ""),
        ("KEY=''", ""),
        ('KEY=""', ""),
        ("KEY=a=b:c", "a=b:c"),
        ("KEY=two words", "two words"),
        ("KEY='12' # a comment", "12"),
        ('KEY="1#2" # a comment', "1#2"),
        ("KEY='it\\'s'", "it's"),
        ('KEY="a \\"word\\""', 'a "word"'),
        ('KEY="a\\nb\\tc\\\\d"', "a\nb\tc\\d"),
        ("KEY='a\\nb'", "a\\nb"),
        ("KEY=a\\nb", "a\\nb"),
        ("KEY='first\nsecond'", "first\nsecond"),
        ('KEY="first\nsecond"', "first\nsecond"),
        ("KEY=$USER_NAME", "alice"),
        ("KEY=${USER_NAME}-1", "alice-1"),
        ('KEY="$USER_NAME"', "alice"),
        ("KEY='$USER_NAME'", "$USER_NAME"),
        ('KEY="\\$USER_NAME"', "$USER_NAME"),
        ("KEY=$$USER_NAME", "$USER_NAME"),
        ("KEY=${NOBODY:-otherwise}", "otherwise"),
        ("KEY=${NOBODY-otherwise}", "otherwise"),
        ("KEY=${EMPTY:-otherwise}", "otherwise"),
        ("KEY=${EMPTY-otherwise}", ""),
        ("KEY=${NOBODY:-${USER_NAME:-x}}!", "alice!"),
        ("KEY=${USER_NAME:+instead}", "instead"),
        ("KEY=${NOBODY:+instead}", ""),
        ("KEY=${USER_NAME:?is lacking}", "alice"),
        ("EARLIER=1\nKEY=${EARLIER}2", "12"),
        ("STATE=file\nKEY=$STATE", "shell"),
        ("KEY=1\nKEY=2", "2"),
    ],
)
def test_a_line_means_what_it_means_to_compose(tmp_path: Path, line: str, value: str) -> None:
    assert read(tmp_path, line)["KEY"] == value


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("PRODUCTION true", "it is not NAME=value"),
        ("=true", "it is not NAME=value"),
        ("TWO WORDS=1", "it is not NAME=value"),
        ("PRO-DUC*TION=true", "it is not NAME=value"),
        ("<<<<<<< HEAD", "it is not NAME=value"),
        ("PRODUCTION", "PRODUCTION has no value"),
        ("KEY='open", "the quotes of KEY do not end"),
        ('KEY="open\nOTHER=1', "the quotes of KEY do not end"),
        ("KEY='a' b", "something follows the quotes of KEY"),
        ("KEY= # a comment", "KEY begins with #"),
        ("KEY=$abc", r"KEY refers to \$abc, which is not set"),
        ("KEY=a${abc}", r"KEY refers to \$abc, which is not set"),
        ("KEY=$1", r"KEY has a \$ that names no variable"),
        ("KEY=cost$", r"KEY has a \$ that names no variable"),
        ("KEY=${USER_NAME", r"KEY has a \$\{ without its \}"),
        ("KEY=${USER_NAME!x}", "compose does not know"),
        ("KEY=${NOBODY:?}", "KEY needs NOBODY"),
        ("KEY=a\x00b", "a character that cannot be printed"),
        ("KEY='a\x00b'", "a character that cannot be printed"),
        ('KEY="a\\000b"', "a character that cannot be printed"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_by_file_and_number(tmp_path: Path, line: str, problem: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=problem) as error:
        read(tmp_path, f"# one\n\nSECRET='two\nlines'\n{line}\n")
    assert str(error.value).startswith(f"{tmp_path}/.env, line 5: ")
    assert "\n" not in str(error.value)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"\.env is not a text file in UTF-8"):
        read(tmp_path, "PRODUCTION=true".encode("utf-16"))


def test_a_missing_file_counts_as_empty_and_a_folder_is_refused(tmp_path: Path) -> None:
    assert dotenv.read(tmp_path / ".env", {}) == {}
    with pytest.raises(ImproperlyConfigured, match="cannot be read"):
        dotenv.read(tmp_path, {})


def test_a_link_to_nothing_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").symlink_to(tmp_path / "gone")
    with pytest.raises(ImproperlyConfigured, match=r"\.env leads to a file that is not there"):
        dotenv.read(tmp_path / ".env", {})


def test_the_shell_wins_over_the_file_and_an_empty_variable_is_unset(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text("PORT=1\nSANDBOX_PORT=2\nSTATE_DIR=3\n")
    environ = {"PORT": "4", "SANDBOX_PORT": " "}
    environment.complete(environ, file)
    assert environ == {"PORT": "4", "SANDBOX_PORT": "2", "STATE_DIR": "3", "DJANGO_SETTINGS_MODULE": "config.settings"}
