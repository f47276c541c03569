"""DNS of a test's own, over UDP: a server whose answers change from question to question, and a look-up that asks it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from ipaddress import ip_address
from threading import Thread

A, AAAA = 1, 28
HEADER = struct.Struct("!6H")
ANSWERED, NO_SUCH_NAME = 0x8180, 0x8183


@dataclass
class Names:
    """`answers`: each time that somebody asks for A, the next of them is true; the last one stays."""

    port: int
    answers: list[list[str]]
    questions: list[tuple[str, int]] = field(default_factory=list)

    def look_up(self, host: str) -> list[str]:
        """Returns all addresses of a host, by two questions, as a resolver asks them. Raises `gaierror`."""
        found = [address for kind in (A, AAAA) for address in _addresses(_ask(self.port, host, kind), kind)]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found

    def now(self, kind: int) -> list[bytes]:
        asked = sum(kind == A for _, kind in self.questions)
        packed = (ip_address(text).packed for text in self.answers[min(asked, len(self.answers)) - 1])
        return [data for data in packed if len(data) == (4 if kind == A else 16)]


@contextmanager
def names(*answers: list[str]) -> Iterator[Names]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        served = Names(server.getsockname()[1], list(answers))
        answering = Thread(target=_answer, args=(server, served))
        answering.start()
        try:
            yield served
        finally:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as last:
                last.sendto(b"", server.getsockname())
            answering.join()


def _answer(server: socket.socket, served: Names) -> None:
    while True:
        question, asker = server.recvfrom(512)
        if not question:
            return
        end = question.index(b"\0", HEADER.size) + 5
        kind = int.from_bytes(question[end - 4 : end - 2])
        served.questions.append((_name(question[HEADER.size :]), kind))
        found = served.now(kind)
        head = HEADER.pack(int.from_bytes(question[:2]), ANSWERED if found else NO_SUCH_NAME, 1, len(found), 0, 0)
        records = b"".join(struct.pack("!HHHIH", 0xC00C, kind, 1, 0, len(data)) + data for data in found)
        with suppress(OSError):
            server.sendto(head + question[HEADER.size : end] + records, asker)


def _name(labels: bytes) -> str:
    parts = []
    while size := labels[0]:
        parts.append(labels[1 : 1 + size].decode())
        labels = labels[1 + size :]
    return ".".join(parts)


def _ask(port: int, host: str, kind: int) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in host.split("."))
    question = HEADER.pack(7, 0x0100, 1, 0, 0, 0) + labels + struct.pack("!BHH", 0, kind, 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
        asking.settimeout(5)
        asking.sendto(question, ("127.0.0.1", port))
        return asking.recv(4096)


def _addresses(answer: bytes, kind: int) -> list[str]:
    """Reads the addresses of records whose names all point to the question."""
    size = 4 if kind == A else 16
    at = answer.index(b"\0", HEADER.size) + 5
    found = []
    for _ in range(HEADER.unpack_from(answer)[3]):
        found.append(str(ip_address(answer[at + 12 : at + 12 + size])))
        at += 12 + size
    return found
