"""Compares the ledger with hashes that were kept elsewhere: each account's last number and hash, as they were then.

A chain cannot show that somebody with all rights has written a whole account anew. A hash that was out of their reach can.
A line of text names one head: the account's id, the number and the hash, with spaces between them. The last line has the count of
heads, which shows a file that was cut off.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from billing.models import Account

HASH_BYTES = 32
# `int` takes digits of every script, and underscores.
NUMBER = re.compile("[0-9]+")
COUNT = re.compile("[0-9]+ heads?")
DIFFERENT = """
SELECT kept.account_id, kept.number, entry.hash IS NULL
FROM unnest(%s::uuid[], %s::bigint[], %s::bytea[]) AS kept (account_id, number, hash)
LEFT JOIN billing_entry AS entry ON entry.account_id = kept.account_id AND entry.number = kept.number
WHERE entry.hash IS DISTINCT FROM kept.hash
ORDER BY kept.account_id, kept.number
"""


@dataclass(frozen=True, kw_only=True)
class Head:
    """The end of an account's chain at some moment."""

    account_id: UUID
    number: int
    hash: bytes

    def __str__(self) -> str:
        return f"{self.account_id} {self.number} {self.hash.hex()}"


def present() -> Iterator[Head]:
    """Yields the head of each account that has entries."""
    rows = Account.objects.filter(last_number__gt=0).order_by("pk").values_list("pk", "last_number", "last_hash")
    for account_id, number, hash in rows:
        yield Head(account_id=account_id, number=number, hash=bytes(hash))


def written(heads: Sequence[Head]) -> Iterator[str]:
    """Yields the lines of a file that keeps these heads."""
    yield from map(str, heads)
    yield counted(heads)


def counted(heads: Sequence[Head]) -> str:
    """Returns how many heads these are, in the words of a file's last line."""
    return "1 head" if len(heads) == 1 else f"{len(heads)} heads"


def parse(lines: Iterable[str]) -> list[Head]:
    """Returns the heads of a file. Raises `ValueError`, which says what is wrong with the first wrong line or the count."""
    numbered = [(number, line.strip()) for number, line in enumerate(lines, start=1) if line.strip()]
    if not numbered:
        raise ValueError("has no heads; it was written by an audit that failed, or cut off")
    *heads, (_, last) = numbered
    if not COUNT.fullmatch(last):
        heads, last = numbered, ""
    found = [_head(number, line) for number, line in heads]
    if last != counted(found):
        said = f"says {last!r} at its end and has {len(found)}" if last else "does not end with the count of its heads"
        raise ValueError(f"{said}; it was cut off or altered")
    return found


def faults(cursor: Any, kept: Sequence[Head]) -> Iterator[tuple[UUID, str]]:
    """Yields the account and a sentence for each head that the ledger does not have any more."""
    columns = zip(*((head.account_id, head.number, head.hash) for head in kept), strict=True)
    cursor.execute(DIFFERENT, [list(column) for column in columns] or [[], [], []])
    for account_id, number, is_missing in cursor.fetchall():
        what = "is missing, and was there" if is_missing else "is another one than"
        yield account_id, f"entry {number} {what} when its hash was kept"


def _head(number: int, line: str) -> Head:
    try:
        account_id, of_entry, hash = line.split()
        head = Head(account_id=UUID(account_id), number=int(of_entry), hash=bytes.fromhex(hash))
        if not NUMBER.fullmatch(of_entry) or head.number < 1 or head.number >= 2**63 or len(head.hash) != HASH_BYTES:
            raise ValueError
    except ValueError:
        raise ValueError(
            f"has a wrong line {number}, which must be an account's id, an entry's number and its hash, as "
            "`audit_ledger --heads` prints them"
        ) from None
    return head
