"""Tests a fail-over, after which the address leads to another Redis: connections to the old one, now a replica, are dropped."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from accounts import redis_client
from config import embedded
from config.celery import app
from config.embedded import state
from tests import programs


class Address:
    """Leads new connections to the present server, and keeps old ones where they are."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"redis://:password@127.0.0.1:{self._listening.getsockname()[1]}/0"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                caller, _ = self._listening.accept()
                server = socket.create_connection(("127.0.0.1", self.port))
                for ends in ((caller, server), (server, caller)):
                    threading.Thread(target=pass_on, args=ends, daemon=True).start()


def pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError), source:
        while piece := source.recv(65536):
            target.sendall(piece)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)


@pytest.fixture(scope="module")
def servers() -> Iterator[list[redis.Redis]]:
    """Yields two servers with one password."""
    with programs.state_folder() as folder, ExitStack() as running:
        urls = [running.enter_context(valkey(folder / name).in_use()) for name in ("old", "new")]
        clients = [running.enter_context(redis.Redis.from_url(url)) for url in urls]
        for client in clients:
            client.config_set("requirepass", "password")
            client.connection_pool.connection_kwargs["password"] = "password"
        yield clients


def valkey(folder: Path) -> embedded.Valkey:
    return embedded.Valkey(folder, state.account())


def port_of(client: redis.Redis) -> int:
    return int(client.connection_pool.connection_kwargs["port"])


@pytest.fixture
def address(servers: list[redis.Redis]) -> Iterator[Address]:
    servers[0].execute_command("REPLICAOF NO ONE")
    address = Address(port_of(servers[0]))
    yield address
    address.close()


def fail_over(address: Address, servers: list[redis.Redis]) -> None:
    servers[0].execute_command("REPLICAOF 127.0.0.1 9")
    address.port = port_of(servers[1])


def test_a_client_disconnects_from_a_server_that_became_a_replica(address: Address, servers: list[redis.Redis]) -> None:
    with redis_client.of(address.url) as client:
        client.set("before", "")
        fail_over(address, servers)
        with pytest.raises(redis.ReadOnlyError):
            client.set("lost", "")
        client.set("after", "")
    assert servers[1].exists("after")


def test_senders_of_messages_disconnect_too(address: Address, servers: list[redis.Redis]) -> None:
    with app.connection_for_write(url=address.url) as broker, app.amqp.Producer(broker) as producer:
        publish(producer)
        fail_over(address, servers)
        with pytest.raises(redis.ReadOnlyError):
            publish(producer)
        publish(producer)
    assert servers[1].llen("celery:kept") == 1


def publish(producer: Any) -> None:
    producer.publish("", routing_key="kept", exchange="", retry=False)
