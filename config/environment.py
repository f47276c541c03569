"""Prepares the environment: the shell's variables, and those of the checkout's `.env` that the shell lacks.

Nothing reads the environment before it is prepared, and afterwards only `config.settings` does. Variables that libraries
would read by themselves are removed, so that another program's broker, proxy or database is never used here.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, MutableMapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import TypeVar

from django.core.exceptions import ImproperlyConfigured

from config import dotenv
from config.setting_types import SWITCH, SettingType, WrongPart

BASE_DIR = Path(__file__).resolve().parent.parent
# Read by Celery and kombu, libpq and psycopg, redis, granian, Django, boto, prometheus_client.
FOREIGN_BEGINNINGS = (
    *("CELERY_", "KOMBU_", "PG", "PSYCOPG_", "REDIS_", "GRANIAN_", "DJANGO_", "AWS_", "BOTO_", "PROMETHEUS_"),
)
# Read by Celery's command line, by httpx, urllib and OpenSSL.
FOREIGN_NAMES = {
    *("BROKER_URL", "RESULT_BACKEND", "LOADER", "CONFIG_MODULE", "SKIP_CHECKS", "AUTOSCALE_KEEPALIVE", "NETRC"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "OPENSSL_CONF"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "FTP_PROXY", "WS_PROXY", "WSS_PROXY", "NO_PROXY"),
}
# Names in a .env that are compose's own, or those of its images.
COMPOSE_BEGINNINGS = ("COMPOSE_", "DOCKER_", "POSTGRES_", "VALKEY_", "NGINX_", "PYTHON_", "WEB_BIND")
# A name that contains one of the first, or ends with one of the second, means the mode of the start. Only PRODUCTION sets it.
PRODUCTION_WORDS = {"PROD", "PRODUCTION"}
MODE_WORDS = {"ENV", "ENVIRONMENT"}
SHORTEST_BEGINNING = 4
# Our own names, and answers to commands: `createsuperuser --noinput`, Django's colours.
NOT_FOREIGN = {"REDIS_URL", "REDIS_TIMEOUT_SECONDS", "DJANGO_COLORS"}
NOT_FOREIGN |= {f"DJANGO_SUPERUSER_{field}" for field in ("USERNAME", "EMAIL", "PASSWORD")}

T = TypeVar("T")
D = TypeVar("D")
# The names in files, each with its file.
_in_file: dict[str, Path] = {}


@cache
def prepare() -> None:
    """Makes the process's environment ready, the first time that it is called. Raises `ImproperlyConfigured`.

    ENV_FILE names another file than the checkout's .env.
    """
    named = text(os.environ, "ENV_FILE")
    file = BASE_DIR / (named or ".env")
    if named and not _exists(file):
        raise ImproperlyConfigured(f"ENV_FILE: there is no {file}.")
    complete(os.environ, file)


def _exists(file: Path) -> bool:
    try:
        return file.exists()
    except OSError as error:  # the name is too long, or the folder is not readable
        raise ImproperlyConfigured(f"ENV_FILE: {file} cannot be read: {error.strerror}.") from None


def complete(environ: MutableMapping[str, str], file: Path) -> None:
    """Adds what the file has and the environment lacks, and takes out what is foreign."""
    for name, value in dotenv.read(file, environ).items():
        _in_file[name] = file
        if not text(environ, name):
            environ[name] = value
    for name in [name for name in environ if is_foreign(name)]:
        del environ[name]
    environ["DJANGO_SETTINGS_MODULE"] = "config.settings"


def refuse_misspelt(settings: list[str]) -> None:
    """Raises `ImproperlyConfigured` where a file has a name that is meant as a setting's: PRODUCTON=true, PROD=true or
    PRODUCTION_MODE=true would start in development mode.
    """
    for name, file in _in_file.items():
        if name not in settings and (meant := _meant(name.upper(), settings)):
            raise ImproperlyConfigured(f"{file}: {name} is no setting; {meant} is.")


def _meant(name: str, settings: list[str]) -> str | None:
    """Returns the setting that an unknown name is nearly, or is a part of, or has as a part; None for a name of others."""
    if near := get_close_matches(name, settings, n=1, cutoff=0.85):
        return near[0]
    if name.startswith(COMPOSE_BEGINNINGS):
        return None
    words = re.split(r"[_.-]+", name.strip("_.-"))
    if PRODUCTION_WORDS.intersection(words) or words[-1] in MODE_WORDS:
        return "PRODUCTION"
    parts = (each for each in settings if _is_part(words, each.split("_")) or _is_part(each.split("_"), words))
    begun = (each for each in settings if len(name) >= SHORTEST_BEGINNING and each.startswith(name))
    return next(parts, None) or next(begun, None)


def _is_part(part: list[str], whole: list[str]) -> bool:
    """Returns whether a name begins or ends with the words of another."""
    return whole[: len(part)] == part or whole[-len(part) :] == part


def is_foreign(name: str) -> bool:
    """Returns whether a library would read the variable by itself."""
    return name not in NOT_FOREIGN and (name.startswith(FOREIGN_BEGINNINGS) or name.upper() in FOREIGN_NAMES)


def text(environ: Mapping[str, str], name: str) -> str:
    """Returns the variable without surrounding blanks; an empty one is unset."""
    return environ.get(name, "").strip()


def is_production() -> bool:
    """Returns whether PRODUCTION is set, for code that runs before the settings can be read."""
    return Environment(os.environ).read("PRODUCTION", SWITCH, False)


def refuse_keyless(program: str) -> None:
    """Raises `ImproperlyConfigured` where KEYLESS is set: each process would sign with a key of its own and open no secret."""
    if Environment(os.environ).read("KEYLESS", SWITCH, False):
        raise ImproperlyConfigured(
            f"KEYLESS must not be true for {program}, which needs SECRET_KEY and CREDENTIAL_KEYS."
        )


@contextmanager
def in_one_line() -> Iterator[None]:
    """Ends the program with code 2 and one line, no traceback, where a setting is wrong or lacking."""
    try:
        yield
    except ImproperlyConfigured as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(2)


class Environment:
    """Reads settings, and knows afterwards which there are."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.settings: list[str] = []

    def read(self, name: str, kind: SettingType[T], default: D) -> T | D:
        """Returns the checked setting, or `default` if it is unset. Raises `ImproperlyConfigured`."""
        self.settings.append(name)
        given = text(self._environ, name)
        if not given:
            return default
        if not given.isprintable():
            raise ImproperlyConfigured(f"{name} has a character that cannot be printed.")
        try:
            return kind.read(given)
        except WrongPart as error:
            raise ImproperlyConfigured(f"{name}: {error}.") from None
        except ValueError:
            raise ImproperlyConfigured(f"{name} must be {kind.words}.") from None
