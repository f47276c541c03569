"""Defines the types of settings: each has words for the person who has it wrong, and a function that reads the text."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Generic, TypeVar
from urllib.parse import SplitResult, urlsplit

T = TypeVar("T")
Number = TypeVar("Number", int, float, Decimal)
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
DECIMAL = re.compile(r"[+-]?[0-9]{1,15}(?:\.[0-9]{0,15})?")
LABEL = r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?"
HOST_NAME = re.compile(rf"(?=.{{1,253}}\Z){LABEL}(?:\.{LABEL})*")
# Bytes of a file name, in every usual file system.
LONGEST_NAME = 255
# The most values of a list.
MOST_VALUES = 100
# No private network is wider: 10.0.0.0/8 and fd00::/8 are the widest.
WIDEST_PREFIX = 8
# This machine, its link (where clouds serve each machine's secrets), other addresses of that service, and IPv6's forms of IPv4.
NEVER_REACHED = [
    ipaddress.ip_network(each)
    for each in (
        *("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "100.100.100.200/32", "168.63.129.16/32"),
        *("::/96", "::ffff:0:0/96", "64:ff9b::/96", "2002::/16", "fe80::/10", "fd00:ec2::/32"),
    )
]
# Anybody can register a name below these.
PUBLIC_SUFFIX = re.compile(r"[^.]+|(?:ac|co|com|edu|go|gob|gov|gv|mil|ne|net|nom|or|org)\.[a-z]{2}")
DEFAULT_PORTS = {"http": 80, "https": 443}


class WrongPart(ValueError):
    """Says which part of a value is wrong, if the words of the type would not say it."""


@dataclass(frozen=True)
class SettingType(Generic[T]):
    """Describes a type of setting. `read` raises ValueError for text that is not as `words` say: "NAME must be {words}."."""

    words: str
    read: Callable[[str], T]


def whole(least: int, most: int) -> SettingType[int]:
    return _number(f"a whole number from {least} to {most}", WHOLE, int, least, most)


def decimal(least: float, most: float) -> SettingType[float]:
    exact = amount(Decimal(str(least)), Decimal(str(most)))
    return SettingType(exact.words, lambda given: float(exact.read(given)))


def amount(least: Decimal, most: Decimal) -> SettingType[Decimal]:
    return _number(f"a number from {least:f} to {most:f}", DECIMAL, Decimal, least, most)


def _number(
    words: str, form: re.Pattern[str], number: Callable[[str], Number], least: Number, most: Number
) -> SettingType[Number]:
    def read(given: str) -> Number:
        if not form.fullmatch(given) or not least <= (value := number(given)) <= most:
            raise ValueError
        return value

    return SettingType(words, read)


def series(read_one: Callable[[str], T], words: str) -> SettingType[list[T]]:
    """Returns the type of values with commas between them, in their order."""

    def read(given: str) -> list[T]:
        values = [read_one(part.strip()) for part in given.split(",")]
        if len(values) > MOST_VALUES:
            raise ValueError
        return values

    return SettingType(words, read)


def listed(read_one: Callable[[str], T], words: str) -> SettingType[list[T]]:
    """Returns the type of values with commas between them, each counted once. Nothing between two commas is no value."""
    values = series(read_one, words)

    def read(given: str) -> list[T]:
        parts = filter(str.strip, given.split(","))
        return list(dict.fromkeys(values.read(",".join(parts))))

    return SettingType(words, read)


def networks(read_one: Callable[[str], Network], such_as: str) -> SettingType[list[Network]]:
    return listed(read_one, f"networks such as {such_as}, each by its first address")


def _switch(given: str) -> bool:
    word = given.lower()
    if word in ("true", "1", "yes", "on"):
        return True
    if word in ("false", "0", "no", "off"):
        return False
    # A misspelt PRODUCTION=true must not start in development mode.
    raise ValueError


def choice(*words: str) -> SettingType[str]:
    """Returns the type of one of some words, in any case."""
    known = {word.upper(): word for word in words}

    def read(given: str) -> str:
        if given.upper() not in known:
            raise ValueError
        return known[given.upper()]

    return SettingType(f"one of {', '.join(words)}", read)


def host(given: str) -> str:
    """Returns a name or an address as URLs have it. Raises ValueError."""
    if given.startswith("["):
        if not given.endswith("]"):
            raise ValueError
        return f"[{ipaddress.IPv6Address(given[1:-1])}]"
    if ":" in given:
        return f"[{ipaddress.IPv6Address(given)}]"
    name = given.rstrip(".").lower()
    if not name.isascii():
        name = name.encode("idna").decode()
    if not HOST_NAME.fullmatch(name):
        raise ValueError
    if re.fullmatch(r"[0-9.]+", name):
        return str(ipaddress.IPv4Address(name))
    return name


def _allowed_host(given: str) -> str:
    """Reads a host in the form in which Django compares hosts. `*` is refused: it would allow any."""
    return f".{host(given[1:])}" if given.startswith(".") else host(given)


def _own_host(given: str) -> str:
    """Returns an allowed host, unless strangers can have names below it. Raises ValueError."""
    allowed = _allowed_host(given)
    if allowed.startswith(".") and PUBLIC_SUFFIX.fullmatch(allowed[1:]):
        raise WrongPart(f"{given} lets in everybody's names below {allowed[1:]}; name your own, such as .example.com")
    return allowed


def _bounded_network(given: str) -> Network:
    network = ipaddress.ip_network(given)
    if network.prefixlen < WIDEST_PREFIX:
        raise WrongPart(f"{given} is wider than production may have it; name networks of your own, of /8 or narrower")
    return network


def _outward_network(given: str) -> Network:
    """Returns a network that requests of tenants may reach in production. Raises ValueError."""
    network = _bounded_network(given)
    for closed in NEVER_REACHED:
        if network.version == closed.version and network.overlaps(closed):
            reason = "which requests of tenants must not reach in production; name networks without it"
            raise WrongPart(f"{given} has addresses of {closed}, {reason}")
    return network


def _address(given: str) -> SplitResult:
    """Returns a URL without a trailing slash and without the default port of its scheme."""
    parts = urlsplit(given)
    if parts.scheme not in DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc or "\\" in given or " " in given:
        raise ValueError
    if parts.query or parts.fragment or given.endswith(("?", "#")) or parts.netloc.endswith(":") or parts.port == 0:
        raise ValueError
    port = f":{parts.port}" if parts.port not in (None, DEFAULT_PORTS[parts.scheme]) else ""
    return parts._replace(netloc=f"{host(parts.hostname)}{port}", path=parts.path.rstrip("/"))


def _url(given: str) -> str:
    return _address(given).geturl()


def _origin(given: str) -> str:
    if (address := _address(given)).path:
        raise ValueError
    return address.geturl()


def _secure_origin(given: str) -> str:
    if not (origin := _origin(given)).startswith("https://"):
        raise ValueError
    return origin


def _path(given: str) -> str:
    if not re.fullmatch(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]*", given) or given.startswith("//"):
        raise ValueError
    return given


def _token(given: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9._~+/=-]{32,}", given):
        raise ValueError
    return given


def folder(base: Path) -> SettingType[Path]:
    def read(given: str) -> Path:
        try:
            path = base / Path(given).expanduser()
            nearest = next(each for each in (path, *path.parents) if each.exists())
        except (OSError, RuntimeError):  # the name is too long, the folder not readable, or the home unknown
            raise ValueError from None
        if not nearest.is_dir() or any(len(os.fsencode(part)) > LONGEST_NAME for part in path.parts):
            raise ValueError
        return path

    return SettingType("a folder, or the path of one that can be made", read)


SWITCH = SettingType("true or false", _switch)
PORT = whole(1, 65535)
PORTS = listed(PORT.read, "port numbers such as 80,443")
NETWORKS = networks(ipaddress.ip_network, "127.0.0.0/8,::1/128")
BOUNDED_NETWORKS = networks(_bounded_network, "10.0.0.0/8,fd00::/8")
OUTWARD_NETWORKS = networks(_outward_network, "10.1.0.0/16,fd00:1::/32")
HOST_WORDS = "names such as sightline.example.com, or addresses, without scheme and port; * would let any name in"
HOSTS = listed(_allowed_host, HOST_WORDS)
OWN_HOSTS = listed(_own_host, HOST_WORDS)
ORIGIN = SettingType("an address such as https://sightline.example.com, with its scheme and without a path", _origin)
SECURE_ORIGIN = SettingType(
    "an address such as https://sightline.example.com, with https and without a path, where PRODUCTION is set",
    _secure_origin,
)
URL = SettingType("an address such as https://api.example.com/v1, with http or https, without a question mark", _url)
PATH = SettingType("a path such as /brands", _path)
TOKEN = SettingType("a secret of 32 characters or more: letters, digits and . _ ~ + / = -", _token)
TEXT: SettingType[str] = SettingType("text", str)
# The seconds before each try but the first.
PAUSES = series(
    decimal(0, 30 * 86_400).read, "seconds with commas between them, such as 5,300,1800, none more than 30 days"
)
