"""Reads multipart/form-data (RFC 7578) strictly.

The standard library reads the headers of the parts. The body is split here as bytes, because the library's mail parser would
split a large picture into lines.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import Message
from email.policy import HTTP


class Malformed(Exception):
    """The body is not multipart/form-data. The message says why in a few words."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One field of a form. `filename` is None if the field is not a file; `media_type` is empty if none was sent."""

    name: str
    filename: str | None
    media_type: str
    content: bytes = field(repr=False)

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")


def parts(content_type: str, body: bytes) -> dict[str, Part]:
    """Returns the parts by their names. The first of two parts with one name counts. Raises `Malformed`."""
    pieces = (b"\r\n" + body).split(b"\r\n--" + _boundary(content_type))
    if len(pieces) < 2 or not pieces[-1].startswith(b"--"):
        raise Malformed("the body does not end with its boundary")
    found: dict[str, Part] = {}
    for piece in pieces[1:-1]:
        part = _part(piece)
        found.setdefault(part.name, part)
    return found


def _boundary(content_type: str) -> bytes:
    head = _head(f"Content-Type: {content_type}".encode())
    boundary = head.get_boundary()
    if head.get_content_type() != "multipart/form-data" or not boundary:
        raise Malformed("the body is not multipart/form-data")
    return boundary.encode()


def _part(piece: bytes) -> Part:
    head, gap, content = piece.partition(b"\r\n\r\n")
    fields = _head(head.removeprefix(b"\r\n"))
    name = fields.get_param("name", header="content-disposition")
    if not gap or not isinstance(name, str):
        raise Malformed("a part has no name")
    return Part(
        name=name,
        filename=fields.get_filename(),
        media_type=fields.get_content_type() if "content-type" in fields else "",
        content=content,
    )


def _head(lines: bytes) -> Message:
    return message_from_bytes(lines + b"\r\n\r\n", policy=HTTP)
