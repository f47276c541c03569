"""All of Sightline on one machine, for `serve` and `demo`: the processes that production runs, started and ended together."""

from config.launcher.system import System, launched
from config.launcher.trouble import Trouble

__all__ = ["System", "Trouble", "launched"]
