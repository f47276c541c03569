"""Tests that the URLs of PostgreSQL and Redis mean the same to all libraries."""

from __future__ import annotations

import datetime
import socket
import ssl
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.exceptions import ImproperlyConfigured
from django.db import connection
from kombu import Connection
from kombu.exceptions import OperationalError
from kombu.transport.redis import Channel
from psycopg.conninfo import conninfo_to_dict
from pytest_django import Settings

from accounts import redis_client
from config import connection_urls
from config.environment import Environment
from config.postgresql.base import DatabaseWrapper

WHERE = ("host", "port", "path", "db", "username", "password", "ssl_check_hostname", "ssl_ca_certs")


def plain(made: type) -> type:
    """Returns redis-py's class, on which ours builds."""
    bases = (redis.SSLConnection, redis.UnixDomainSocketConnection, redis.Connection)
    return next(base for base in bases if issubclass(made, base))


def by_redis_py(url: str) -> dict[str, Any]:
    pool = redis_client.of(url).connection_pool
    told = {name: pool.connection_kwargs.get(name) for name in WHERE}
    return told | {"class": plain(pool.connection_class), "verified": pool.connection_kwargs.get("ssl_cert_reqs")}


def by_kombu(url: str) -> dict[str, Any]:
    """Returns the arguments of Celery's connections. Nothing is connected to."""
    with Connection(url) as broker:
        channel: Any = Channel.__new__(Channel)
        channel.connection = SimpleNamespace(client=broker, default_port=6379)
        channel.max_connections = 10
        made = channel._connparams()
    verified = made.get("ssl_cert_reqs")
    told = {name: made.get(name) for name in WHERE}
    return told | {
        "class": plain(made["connection_class"]),
        "verified": None if verified is None else verified.name[5:].lower(),
    }


@pytest.mark.parametrize(
    "given",
    [
        "redis://redis.example.com",
        "redis://redis.example.com/",
        "redis://redis.example.com:7000/3",
        "redis://redis.example.com?db=4",
        "redis://redis.example.com/4?db=4",
        "redis://:p%40%2F%23%25word@redis.example.com/1",
        "redis://user:p+w@redis.example.com",
        "redis://user@redis.example.com",
        "redis://REDIS.example.com.",
        "redis://[::1]:6380/2",
        "unix:///run/redis.sock",
        "unix:///run/redis.sock?db=5",
        "unix://user:p%40w@/run/redis.sock?db=5",
        "rediss://redis.example.com",
        "rediss://user:pw@redis.example.com:6380/7",
        "rediss://redis.example.com?ssl_cert_reqs=required",
        "rediss://redis.example.com?ssl_cert_reqs=CERT_NONE",
        "rediss://redis.example.com?ssl_check_hostname=false",
        f"rediss://redis.example.com?ssl_ca_certs={quote(__file__)}",
    ],
)
def test_redis_is_the_same_one_to_the_limiter_and_to_the_broker(given: str) -> None:
    meant = connection_urls.REDIS.read(given)
    assert by_kombu(meant.broker_url) == by_redis_py(meant.url)


@pytest.mark.parametrize(
    "given",
    [
        *("redis.example.com", "http://redis.example.com", "redis:///0", "redis://", "redis://:6379/0", "valkey://x/0"),
        *("redis://x:0/0", "redis://x:99999/0", "redis://x:port/0", "redis://x/zero", "redis://x/-1", "redis://x/1/2"),
        *("redis://x/1?db=2", "redis://x?socket_timeout=100", "redis://x?ssl_cert_reqs=none", "redis://x#1"),
        *("redis://:pa#ss@x/0", "redis://:pa/ss@x/0", "redis://:pa?ss@x/0", "redis://x y/0", "redis://[::1/0"),
        *("rediss://x?ssl_cert_reqs=maybe", "rediss://x?ssl_ca_certs=/no/such/file", "rediss://x?max_connections=1"),
        *("unix://", "unix:///", "unix:///run/x?db=x", "unix://host/run/x", "redis://x/" + "9" * 20),
    ],
)
def test_an_ambiguous_address_of_redis_is_refused(given: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^REDIS_URL must be an address such as"):
        Environment({"REDIS_URL": given}).read("REDIS_URL", connection_urls.REDIS, None)


@pytest.mark.parametrize(
    "given",
    [
        "postgresql://app@db.example.com/app",
        "postgres://app:p%40%2F%25%23+word@db.example.com:5433/app",
        "postgresql://app:p#w@db.example.com/app",
        "postgresql://app:pw@/app?host=/run/postgresql",
        "postgresql://app:pw@%2Frun%2Fpostgresql/app",
        "postgresql:///app?host=/run/postgresql&user=app",
        "postgresql://app@[::1]:5433/app",
        "postgresql://app@one.example.com:5432,two.example.com:5433/app?target_session_attrs=read-write",
        "postgresql://app@db.example.com/app?sslmode=verify-full&sslrootcert=system",
        "postgresql://app@db.example.com/app?connect_timeout=5&application_name=two%20words",
        "postgresql://app@db.example.com/%D1%8F?user=other",
    ],
)
def test_the_database_is_the_one_that_libpq_reads(given: str) -> None:
    wanted = conninfo_to_dict(given)
    settings = connection.settings_dict | connection_urls.DATABASE.read(given)
    params = DatabaseWrapper(settings, alias="tried").get_connection_params()
    assert {name: str(params.get(name)) for name in wanted} == {name: str(value) for name, value in wanted.items()}


@pytest.mark.parametrize(
    "given",
    [
        *(
            "db.example.com",
            "sqlite:///app.db",
            "mysql://app@x/app",
            "psql://app@x/app",
            "postgresql://",
            "postgresql://x",
        ),
        *("postgresql://x/app?no_such_option=1", "postgresql://x/app?service=other", "postgresql://x:port/app"),
        *("postgresql://x:99999/app", "postgresql://x:0/app", "postgresql://app:p%zz@x/app", "postgresql://[::1/app"),
        *("postgresql://x/app?client_encoding=latin1", "postgresql://x/app?pool=1"),
        *("postgresql://x/app?replication=true", "postgresql://x/app?replication=database"),
    ],
)
def test_an_address_of_no_database_is_refused(given: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^DATABASE_URL must be an address such as"):
        Environment({"DATABASE_URL": given}).read("DATABASE_URL", connection_urls.DATABASE, None)


@pytest.mark.parametrize(
    ("option", "given"),
    [
        *(("sslmode", value) for value in ("bad", "Require", "verify_full", "verify-full ")),
        *(("connect_timeout", value) for value in ("x", "1.5", "-1", "9" * 11, "3s", "0x5")),
        *(("target_session_attrs", "writable"), ("channel_binding", "yes"), ("gssencmode", "maybe")),
        *(("load_balance_hosts", "yes"), ("require_auth", "guess"), ("sslcertmode", "x"), ("sslnegotiation", "x")),
        *(("ssl_min_protocol_version", "1.2"), ("ssl_max_protocol_version", "x"), ("max_protocol_version", "9")),
        *(("keepalives", "x"), ("keepalives_idle", "x"), ("keepalives_interval", "x"), ("keepalives_count", "x")),
        *(("tcp_user_timeout", "x"), ("sslsni", "yes"), ("sslcompression", "2"), ("gssdelegation", "x")),
        *((name, "/no/such/file") for name in ("sslrootcert", "sslcert", "sslkey", "sslcrl", "sslcrldir", "passfile")),
        *(("hostaddr", "db.example.com"), ("hostaddr", "10.0.0.1,x")),
    ],
)
def test_an_option_that_libpq_cannot_use_is_named_at_the_start(option: str, given: str) -> None:
    url = f"postgresql://app:pw@x/app?application_name=here&{option}={quote(given)}"
    with pytest.raises(ImproperlyConfigured, match=rf"^DATABASE_URL: .* this value of {option}; .*\.$"):
        Environment({"DATABASE_URL": url}).read("DATABASE_URL", connection_urls.DATABASE, None)


@pytest.mark.parametrize(
    "query",
    ["sslmode=require&sslrootcert=system", "sslmode=bad&gssencmode=bad", "sslnegotiation=direct&sslmode=prefer"],
)
def test_options_that_libpq_does_not_take_together_are_named(query: str) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"^DATABASE_URL: .* this value of (sslmode|sslnegotiation|sslroot)"):
        Environment({"DATABASE_URL": f"postgresql://x/app?{query}"}).read(
            "DATABASE_URL", connection_urls.DATABASE, None
        )


@pytest.mark.parametrize(
    "query",
    [
        *("connect_timeout=0", "keepalives=1&keepalives_idle=30", "sslmode=require&sslnegotiation=direct", "sslsni=0"),
        *("require_auth=scram-sha-256", "hostaddr=10.0.0.1", "channel_binding=require", "options=-c%20jit%3Doff"),
        *(f"sslmode=verify-ca&sslrootcert={quote(__file__)}", "ssl_min_protocol_version=TLSv1.3", "sslmode=disable"),
    ],
)
def test_an_option_that_libpq_knows_is_taken(query: str) -> None:
    assert connection_urls.DATABASE.read(f"postgresql://app@db.example.com/app?{query}")["NAME"] == "app"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Returns a self-signed certificate for this machine, with its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    day = datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now - day, now + day)
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
    made = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True).sign(
        key, hashes.SHA256()
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = tmp_path / "certificate.pem"
    file.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return file


@pytest.fixture
def redis_by_tls(certificate: Path, settings: Settings) -> Iterator[str]:
    """Returns the address of the tests' Redis behind a TLS server with the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    behind = urlsplit(settings.REDIS_URL)
    with socket.create_server(("127.0.0.1", 0)) as server:
        Thread(target=serve, args=(server, context, (behind.hostname, behind.port)), daemon=True).start()
        where = f"{behind.netloc.rpartition('@')[0]}@localhost:{server.getsockname()[1]}"
        yield behind._replace(scheme="rediss", netloc=where).geturl()
        server.shutdown(socket.SHUT_RDWR)


def serve(server: socket.socket, context: ssl.SSLContext, behind: Any) -> None:
    with suppress(OSError):
        while True:
            client, _ = server.accept()
            Thread(target=pass_on, args=(client, context, behind), daemon=True).start()


def pass_on(client: socket.socket, context: ssl.SSLContext, behind: Any) -> None:
    """Passes on one question at a time."""
    with (
        suppress(OSError),
        context.wrap_socket(client, server_side=True) as talk,
        socket.create_connection(behind) as redis,
    ):
        while asked := talk.recv(65536):
            redis.sendall(asked)
            talk.sendall(redis.recv(65536))


def ping(broker: Connection) -> None:
    channel: Any = broker.default_channel
    channel.client.ping()


def connect_all(given: str) -> None:
    """Connects as the limiter does, then as Celery does. The latter gives up at once."""
    meant = connection_urls.REDIS.read(given)
    redis.Redis.from_url(meant.url).ping()
    with Connection(meant.broker_url, transport_options={"max_retries": 1}) as broker:
        ping(broker)


def test_an_untrusted_certificate_is_refused_by_every_client(redis_by_tls: str) -> None:
    meant = connection_urls.REDIS.read(redis_by_tls)
    with pytest.raises(redis.ConnectionError, match="self-signed"):
        redis.Redis.from_url(meant.url).ping()
    broker = Connection(meant.broker_url, transport_options={"max_retries": 1})
    with broker, pytest.raises(OperationalError, match="self-signed"):
        ping(broker)


def test_a_certificate_that_the_address_trusts_is_accepted_by_every_client(
    redis_by_tls: str, certificate: Path
) -> None:
    connect_all(f"{redis_by_tls}?ssl_ca_certs={certificate}")


def test_an_address_can_turn_verification_off(redis_by_tls: str) -> None:
    connect_all(f"{redis_by_tls}?ssl_cert_reqs=none")


def test_the_name_in_the_certificate_is_verified_too(redis_by_tls: str, certificate: Path) -> None:
    by_address = redis_by_tls.replace("localhost", "127.0.0.1")
    with pytest.raises(redis.ConnectionError, match="IP address mismatch"):
        connect_all(f"{by_address}?ssl_ca_certs={certificate}")
