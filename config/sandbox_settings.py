"""Reads the settings of the sandbox from the environment. They are separate from Sightline's settings."""

from __future__ import annotations

from decimal import Decimal

from config import setting_types
from config.environment import Environment
from providers.sandbox.settings import SandboxSettings

DAY_MS = 86_400_000


def read(env: Environment) -> SandboxSettings:
    milliseconds = setting_types.whole(0, DAY_MS)
    return SandboxSettings(
        calls=env.read("SANDBOX_CALLS", setting_types.whole(0, 1_000_000), 0) or None,
        window=env.read("SANDBOX_WINDOW_MS", milliseconds, 0) / 1000 or None,
        one_account=env.read("SANDBOX_ONE_ACCOUNT", setting_types.SWITCH, False),
        latency=env.read("SANDBOX_LATENCY_MS", milliseconds, 300) / 1000,
        slow=env.read("SANDBOX_SLOW_MS", milliseconds, 4000) / 1000,
        hang=env.read("SANDBOX_HANG_MS", milliseconds, 35_000) / 1000,
        credits=env.read("SANDBOX_CREDITS", setting_types.amount(Decimal(0), Decimal(10**12)), Decimal(1_000_000)),
        billed_percent=env.read("SANDBOX_BILLED_PERCENT", setting_types.whole(0, 10_000), 100),
        surplus=env.read("SANDBOX_SURPLUS", setting_types.whole(0, 1_000), 0),
        public_url=env.read("SANDBOX_PUBLIC_URL", setting_types.URL, ""),
    )
