"""Chooses the ports of the launched servers. A port is tried before anything starts, so that a taken one costs one clear line.

The server itself would not notice: it shares its port with other programs of the same user that listen there.
"""

from __future__ import annotations

import errno
import socket

from config.launcher.errors import LaunchError

HOST = "127.0.0.1"


def chosen(variable: str, port: int) -> int:
    """Returns the port of the variable if it is free, and any free port for 0. Raises `LaunchError`."""
    with socket.socket() as probe:
        # Connections in TIME_WAIT of an earlier server do not matter; a listening server does.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as error:
            message = f"{variable}: port {port} cannot be used ({error.strerror}); choose another."
            if error.errno == errno.EADDRINUSE:
                mend = f"end that one, or choose another port with {variable}=<port>."
                message = f"Port {port} is taken by another program: {mend}"
            raise LaunchError(message, code=2) from None
        return int(probe.getsockname()[1])


def chosen_pair(port: int, sandbox_port: int) -> tuple[int, int]:
    """Returns the port of the API and that of the sandbox, which are never equal. Raises `LaunchError`."""
    if port and port == sandbox_port:
        message = (
            f"PORT and SANDBOX_PORT are both {port}: choose another port for one of them with PORT or SANDBOX_PORT."
        )
        raise LaunchError(message, code=2)
    while True:
        pair = chosen("PORT", port), chosen("SANDBOX_PORT", sandbox_port)
        # The kernel may choose the port that was named, because nothing holds that port yet.
        if pair[0] != pair[1]:
            return pair
