"""Every source that can be searched: one line an adapter."""

from __future__ import annotations

from django.conf import settings

from providers.adapters.keyapi import TikTokProducts
from providers.adapters.memories import PrivateVideos, PublicVideos
from providers.adapters.modash import TikTokCreators
from providers.adapters.modash_account import ModashAccount
from providers.contract import Adapter, FreeCalls

ADAPTERS: dict[str, Adapter] = {
    adapter.source: adapter
    for adapter in (
        TikTokCreators(),
        TikTokProducts(),
        PublicVideos(),
        PrivateVideos(),
    )
}  # fmt: skip
# A provider's limits and address stand on the first of its sources.
PROVIDERS: dict[str, Adapter] = {adapter.provider: adapter for adapter in reversed(ADAPTERS.values())}
# What providers answer for nothing, where they do.
FREE_CALLS: dict[str, FreeCalls] = {calls.provider: calls for calls in (ModashAccount(),)}


def base_url(adapter: Adapter) -> str:
    """Where its provider is called: at the operator's address, else at its own."""
    return getattr(settings, adapter.base_url_setting, "") or adapter.base_url


def adapter(source: str) -> Adapter:
    """Raises KeyError for a source that nobody serves."""
    return ADAPTERS[source]
