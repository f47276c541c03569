"""Runs all of Sightline on one machine for `serve` and `demo`: the processes of production, started and ended together."""

from config.launcher.system import System, launched

__all__ = ["System", "launched"]
