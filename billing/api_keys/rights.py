"""Compares what API keys may do: a key gives no more than it has, and changes no key that has more."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from accounts.models import ApiKey, Mode, Scope
from accounts.net import allowed_networks
from billing.serializers import credits_text


@dataclass(frozen=True, kw_only=True)
class Rights:
    """The rights of a key: what it may do, until when, from where, and for how much. The caps of a test key mean nothing."""

    mode: str
    scopes: tuple[str, ...]
    expires_at: datetime | None
    allowed_networks: tuple[str, ...]
    caps: Mapping[str, Decimal]

    @classmethod
    def of(cls, key: ApiKey, caps: Mapping[str, Decimal]) -> Rights:
        return cls(
            mode=key.mode,
            scopes=tuple(key.scopes),
            expires_at=key.expires_at,
            allowed_networks=tuple(key.allowed_networks),
            caps=caps,
        )

    @property
    def reaches_both_modes(self) -> bool:
        """Returns whether the key may also see and make keys of the other mode: a live key with all scopes may."""
        return self.mode == Mode.LIVE and set(self.scopes) >= set(Scope.values)

    def inherited(self, mode: str) -> dict[str, Any]:
        """Returns the rights that a new key of the mode has where its request says nothing."""
        return {
            "scopes": list(self.scopes),
            "expires_at": self.expires_at,
            "allowed_networks": list(self.allowed_networks),
            "caps": dict(self.caps) if mode == Mode.LIVE else {},
        }


def excess(wanted: Rights, own: Rights) -> dict[str, str]:
    """Returns, for each field in which `wanted` goes beyond `own`, a sentence that says what `own` allows."""
    return dict(_excess(wanted, own))


def _excess(wanted: Rights, own: Rights) -> Iterator[tuple[str, str]]:
    if wanted.mode != own.mode and not own.reaches_both_modes:
        yield "mode", f"The key that asks makes {own.mode} keys only; a live key with all scopes makes both."
    if lacking := [scope for scope in wanted.scopes if scope not in own.scopes]:
        yield "scopes", f"The key that asks lacks {', '.join(lacking)}, and can give it to no key; leave it out."
    if own.expires_at and (wanted.expires_at is None or wanted.expires_at > own.expires_at):
        limit = f"{own.expires_at:%Y-%m-%dT%H:%M:%SZ}"
        yield "expires_at", f"The key that asks expires at {limit}; give that time or an earlier one."
    if own.allowed_networks and not (
        wanted.allowed_networks and allowed_networks.within(wanted.allowed_networks, own.allowed_networks)
    ):
        networks = ", ".join(own.allowed_networks)
        yield "allowed_networks", f"The key that asks is taken from {networks} only; give networks that lie in these."
    if wanted.mode == Mode.LIVE and (over := _caps_over(wanted, own)):
        yield "caps", f"The key that asks has the caps {over}; give each of these providers a cap that is no higher."


def _caps_over(wanted: Rights, own: Rights) -> str:
    over = [name for name, size in sorted(own.caps.items()) if name not in wanted.caps or wanted.caps[name] > size]
    return ", ".join(f"{name} {credits_text(own.caps[name])}" for name in over)
