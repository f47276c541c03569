"""Runs a provider that sends and reads what a test decides, byte by byte, over TCP or TLS."""

from __future__ import annotations

import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from threading import Event, Thread

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.patience import HANGS_AFTER_SECONDS


@dataclass
class Caller:
    """One connection, as the provider sees it."""

    socket: socket.socket
    # A large body is appended to in many pieces: bytes would be copied for each.
    heard: bytearray = field(default_factory=bytearray)
    over: Event = field(default_factory=Event)

    def wait_for_end(self) -> None:
        """Does nothing until the test is over: whatever ends before was not ended by the provider."""
        self.over.wait(HANGS_AFTER_SECONDS)

    def hear(self, most: int = 65536) -> bytes:
        said = self.socket.recv(most)
        self.heard += said
        return said

    def hear_head(self) -> bytes:
        """Reads the head of a request, and no byte more."""
        begin = len(self.heard)
        while not self.heard.endswith(b"\r\n\r\n") and self.hear(1):
            pass
        return bytes(self.heard[begin:])

    def hear_request(self) -> None:
        head = self.hear_head().lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0] or 0)
        end = len(self.heard) + length
        while len(self.heard) < end and self.hear():
            pass

    def hear_all(self) -> None:
        while self.hear():
            pass

    def say(self, content: bytes) -> None:
        self.socket.sendall(content)

    def answer(self, status: str = "200 OK", body: bytes = b"{}", *headers: str) -> None:
        lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", "")
        self.say("\r\n".join(lines).encode() + body)

    def reset(self) -> None:
        """Drops the bytes on their way, as when a machine dies or a firewall interferes."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


Script = Callable[[Caller], None]


@dataclass
class Wire:
    url: str
    callers: list[Caller] = field(default_factory=list)
    talks: list[Thread] = field(default_factory=list)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    @property
    def _begun(self) -> list[Thread]:
        return [talk for talk in self.talks if talk.ident is not None]

    def hung_up(self, *, connections: int = 1) -> list[bytes]:
        """Returns the bytes of each connection, after there have been so many and all have ended."""
        deadline = time.monotonic() + 5
        while len(self._begun) < connections and time.monotonic() < deadline:
            time.sleep(0.005)
        for talk in self._begun:
            talk.join(10)
        return [bytes(caller.heard) for caller in self.callers]


def answering(caller: Caller) -> None:
    """Answers every request of the connection."""
    while True:
        before = len(caller.heard)
        caller.hear_request()
        if len(caller.heard) == before:
            return
        caller.answer()


def silent(caller: Caller) -> None:
    """Reads everything, and answers nothing."""
    caller.hear_all()


def deaf(caller: Caller) -> None:
    """Reads the head only."""
    caller.hear_head()
    caller.wait_for_end()


def slow_to_hear(caller: Caller) -> None:
    while caller.hear(400_000):
        time.sleep(0.05)


def dribbling(before: bytes, byte: bytes) -> Script:
    """Sends `before` at once, and then `byte` again and again until the caller has hung up."""

    def dribble(caller: Caller) -> None:
        caller.hear_request()
        caller.say(before)
        while not caller.over.wait(0.03):
            caller.say(byte)

    return dribble


@contextmanager
def wire(*scripts: Script, certificate: Path | None = None, host: str = "127.0.0.1", port: int = 0) -> Iterator[Wire]:
    """Runs the provider. Each connection follows the next script, and those after the last script follow that one too."""
    with socket.create_server((host, port)) as server:
        scheme = "https" if certificate else "http"
        served = Wire(f"{scheme}://{host}:{server.getsockname()[1]}")
        accepting = Thread(target=_accept, args=(server, served, scripts, certificate))
        accepting.start()
        try:
            yield served
        finally:
            server.shutdown(socket.SHUT_RDWR)
            accepting.join()
            for caller in served.callers:
                caller.over.set()
                with suppress(OSError):
                    caller.socket.shutdown(socket.SHUT_RDWR)
            served.hung_up(connections=0)


def _accept(server: socket.socket, served: Wire, scripts: tuple[Script, ...], certificate: Path | None) -> None:
    with suppress(OSError):
        while True:
            caller = Caller(server.accept()[0])
            script = scripts[min(len(served.callers), len(scripts) - 1)]
            talk = Thread(target=_talk, args=(caller, script, certificate))
            # Listed before it starts, because its answer may arrive at once.
            served.callers.append(caller)
            served.talks.append(talk)
            talk.start()


def _talk(caller: Caller, script: Script, certificate: Path | None) -> None:
    with suppress(OSError):
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            caller.socket = context.wrap_socket(caller.socket, server_side=True)
        script(caller)
    caller.socket.close()


def self_signed(folder: Path, name_of_server: str = "") -> Path:
    """Makes a certificate for 127.0.0.1, or for the server of this name, that it signs itself. The file has its key too."""
    server = x509.DNSName(name_of_server) if name_of_server else x509.IPAddress(ip_address("127.0.0.1"))
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "a provider")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([server]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "provider.pem"
    path.write_bytes(pem + certificate.public_bytes(serialization.Encoding.PEM))
    return path
