"""Reads the URLs of PostgreSQL and Redis, so that every library understands the same address, and refuses the rest.

The URL of a database is libpq's, so that `psql` opens it too. The URL of Redis is rewritten for redis-py and for kombu,
Celery's library. Kombu reads fewer forms, uses another database number, and verifies a certificate only if an option asks for it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit

import psycopg
from environ import Env
from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from config.setting_types import SettingType, WrongPart, host

DATABASE_WORDS = (
    "an address such as postgresql://app:password@db.example.com/app; percent-encode what is special in a password"
)
REDIS_WORDS = (
    "an address such as redis://:password@redis.example.com:6379/0, rediss:// for TLS or unix:///path?db=0; "
    "percent-encode what is special in a password"
)
# `service` would read another file, the encoding is Django's, and a replication connection runs none of our statements.
NOT_IN_AN_ADDRESS = {"service", "client_encoding", "replication"}
# libpq checks these values only when it is connected, or not at all.
NUMBERS = {"connect_timeout", "tcp_user_timeout"}
NUMBERS |= {"keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count"}
SWITCHES = {"sslcompression", "sslsni", "gssdelegation"}
# libpq silently ignores a missing certificate or password file.
FILES = {"sslrootcert", "sslcert", "sslkey", "sslcrl", "passfile"}
MOST_NUMBER = 2**31 - 1
# There is no server at this address, so that libpq checks the options and connects to nothing.
NO_SERVER = "/nowhere"
NOT_CONNECTED = b"connection to server on socket"
REDIS_PORT = 6379
MOST_DATABASES = 1_000_000
TLS_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
TLS_DEFAULTS = {"ssl_cert_reqs": "required", "ssl_check_hostname": "true"}
TLS_CHOICES = {"ssl_cert_reqs": ("none", "optional", "required"), "ssl_check_hostname": ("true", "false")}


@dataclass(frozen=True, kw_only=True)
class Redis:
    """Holds one Redis address in the form of redis-py (`url`) and in that of kombu (`broker_url`)."""

    url: str
    broker_url: str


def _database(given: str) -> dict[str, Any]:
    """Returns Django's settings of the database."""
    if urlsplit(given).scheme not in ("postgresql", "postgres"):
        raise ValueError
    try:
        meant = conninfo_to_dict(given)
    except psycopg.Error:
        raise ValueError from None
    if not meant.get("dbname") or NOT_IN_AN_ADDRESS & meant.keys():
        raise ValueError
    names = {"NAME": "dbname", "USER": "user", "PASSWORD": "password", "HOST": "host", "PORT": "port"}
    config = {name: str(meant.pop(theirs, None) or "") for name, theirs in names.items()}
    _check_ports(config["PORT"])
    _check_options({name: str(value) for name, value in meant.items()})
    return {**Env.db_url_config(given, engine="config.postgresql"), **config, "OPTIONS": meant}


def _check_ports(ports: str) -> None:
    for port in filter(None, ports.split(",")):
        if not (port.isdecimal() and 1 <= int(port) <= 65535):
            raise ValueError


def _check_options(options: Mapping[str, str]) -> None:
    """Raises `WrongPart` for a value that would fail only at the first connection, or mean something else there."""
    for name, value in options.items():
        if not _is_sound(name, value):
            raise WrongPart(_wrong(name))
    if _libpq_takes(options):
        return
    cures = [name for name in options if _libpq_takes({**options, name: None})]
    raise WrongPart(_wrong(*(cures[:1] or options)))


def _is_sound(name: str, value: str) -> bool:
    if name in NUMBERS:
        return bool(re.fullmatch("[0-9]{1,10}", value)) and int(value) <= MOST_NUMBER
    if name in SWITCHES:
        return value in ("0", "1")
    if name in FILES:
        # A key may be in a device: "engine:id".
        return (
            Path(value).is_file() or (name, value) == ("sslrootcert", "system") or (name == "sslkey" and ":" in value)
        )
    if name == "sslcrldir":
        return Path(value).is_dir()
    return name != "hostaddr" or all(_is_ip(part) for part in value.split(","))


def _is_ip(given: str) -> bool:
    try:
        ip_address(given)
    except ValueError:
        return False
    return True


def _libpq_takes(options: Mapping[str, str | None]) -> bool:
    """Returns whether libpq would go on to connect. It checks its options first."""
    address = make_conninfo(
        "", **{**options, "host": NO_SERVER, "hostaddr": None, "user": "nobody", "password": "none"}
    )
    connection = pq.PGconn.connect_start(address.encode())
    try:
        return NOT_CONNECTED in connection.error_message
    finally:
        connection.finish()


def _wrong(*names: str) -> str:
    return (
        f"libpq, PostgreSQL's library, cannot use this value of {', '.join(names)}; see its list of parameter key words"
    )


def _redis(given: str) -> Redis:
    parts = urlsplit(given)
    query = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    if parts.fragment or given.endswith("#") or " " in given:
        raise ValueError
    if parts.scheme == "unix":
        return _by_socket(parts, query)
    if parts.scheme not in ("redis", "rediss") or not parts.hostname or parts.port == 0:
        raise ValueError
    database = _number(parts.path.strip("/") or query.pop("db", "0"))
    if "db" in query and query.pop("db") != str(database):
        raise ValueError
    tls = _tls(query) if parts.scheme == "rediss" else query
    if parts.scheme == "redis" and query:
        raise ValueError
    where = f"{_login(parts)}{host(parts.hostname)}:{parts.port or REDIS_PORT}/{database}"
    url = f"{parts.scheme}://{where}" + (f"?{urlencode(tls)}" if tls else "")
    return Redis(url=url, broker_url=url)


def _by_socket(parts: SplitResult, query: dict[str, str]) -> Redis:
    database = _number(query.pop("db", "0"))
    path = unquote(parts.path)
    if query or parts.hostname or not path.strip("/"):
        raise ValueError
    where = f"{_login(parts)}{quote(path)}"
    return Redis(
        url=f"unix://{where}?{urlencode({'db': database})}",
        broker_url=f"redis+socket://{where}?{urlencode({'virtual_host': database})}",
    )


def _login(parts: SplitResult) -> str:
    """Returns user and password with a trailing @, percent-encoded in one way; empty without them."""
    if not parts.username and not parts.password:
        return ""
    user, password = (quote(unquote(part or ""), safe="") for part in (parts.username, parts.password))
    return f"{user}:{password}@" if password else f"{user}@"


def _tls(query: dict[str, str]) -> dict[str, str]:
    """Returns all options that decide which server is trusted. They are explicit because the libraries' defaults differ."""
    options = {**TLS_DEFAULTS, **query}
    for name, value in options.items():
        if name in TLS_CHOICES:
            options[name] = value.lower().removeprefix("cert_")
            if options[name] not in TLS_CHOICES[name]:
                raise ValueError
        elif name not in TLS_FILES or not Path(value).is_file():
            raise ValueError
    if options["ssl_cert_reqs"] == "none":
        options["ssl_check_hostname"] = "false"
    return options


def _number(given: str) -> int:
    if not (given.isascii() and given.isdecimal() and int(given) < MOST_DATABASES):
        raise ValueError
    return int(given)


DATABASE = SettingType(DATABASE_WORDS, _database)
REDIS = SettingType(REDIS_WORDS, _redis)
