"""Runs the embedded Valkey, a Redis to its clients: on a port of this machine alone, with a password, durable."""

import json
import signal
import socket
from pathlib import Path

import redis

from config.embedded import binaries, state
from config.embedded.server import Server


class Valkey(Server):
    title = "Valkey"
    variable = "REDIS_URL"
    stop_signal = signal.SIGTERM

    @property
    def url(self) -> str:
        return f"redis://:{self.password}@127.0.0.1:{self.port_file.read_text()}/0"

    @property
    def port_file(self) -> Path:
        return self.folder / "port"

    def prepare(self) -> list[str]:
        program = binaries.valkey(self.folder, self.account)
        data = self.folder / "data"
        data.mkdir(exist_ok=True)
        self.account.own(data, 0o700)
        state.write(self.port_file, str(self._free_port()))
        # The password is in a file, because everybody can read a command line.
        settings = state.write(self.folder / "valkey.conf", self._settings(data))
        self.account.own(settings, 0o600)
        return [str(program), str(settings)]

    def answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url, socket_timeout=5, socket_connect_timeout=5) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def _settings(self, data: Path) -> str:
        settings = {
            "bind": "127.0.0.1",
            "port": self.port_file.read_text(),
            "requirepass": self.password,
            "dir": json.dumps(str(data), ensure_ascii=False),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": '""',
            "maxmemory-policy": "noeviction",
            "databases": "64",
        }
        return "".join(f"{name} {value}\n" for name, value in settings.items())

    def _free_port(self) -> int:
        """Returns the last port if it is free, so that clients that outlived a killed server find the next one; else any free
        port.
        """
        before = int(self.port_file.read_text()) if self.port_file.exists() else 0
        for port in (before, 0):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    continue
                return int(probe.getsockname()[1])
        raise OSError("no free port on 127.0.0.1")
