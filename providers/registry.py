"""Lists every source that can be searched: one line for each adapter."""

from __future__ import annotations

from django.conf import settings

from providers.adapters.keyapi import TikTokProducts
from providers.adapters.memories import PrivateVideos, PublicVideos
from providers.adapters.modash import TikTokCreators
from providers.adapters.modash_account import ModashAccount
from providers.contract import Adapter

ADAPTERS: dict[str, Adapter] = {
    adapter.source: adapter
    for adapter in (
        TikTokCreators(),
        TikTokProducts(),
        PublicVideos(),
        PrivateVideos(),
    )
}  # fmt: skip
# A provider's limits and address are those of the first of its sources.
PROVIDERS: dict[str, Adapter] = {adapter.provider: adapter for adapter in reversed(ADAPTERS.values())}
# The providers that have calls which cost nothing.
FREE_CALLS = {"modash": ModashAccount()}


def base_url(adapter: Adapter, *, sandboxed: bool = False) -> str:
    """Returns the address at which the adapter's provider is called: the operator's setting, or else the provider's own.

    `sandboxed`: where the sandbox plays the provider.
    """
    if sandboxed:
        return f"{settings.SANDBOX_URL}{adapter.sandbox_path}"
    return getattr(settings, adapter.base_url_setting, "") or adapter.base_url


def adapter(source: str) -> Adapter:
    """Returns the adapter of a source. Raises KeyError if there is none."""
    return ADAPTERS[source]
