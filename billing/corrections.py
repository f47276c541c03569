"""Checks that a correction says why it was made, who made it, and what it corrects.

A line of the ledger is never changed, so an adjustment corrects a mistake. A later reader must find the line that was wrong, the
reason, and a person to ask.
"""

from __future__ import annotations

import re
from uuid import UUID

from billing.models import Account, Entry

LONGEST_MEMO, LONGEST_PERSON = 200, 150
HOW = "name an entry of this account by its number, such as 17, or lookup:<id>, or call:<id>."
NAMED = re.compile(r"(?:(?P<entry>[1-9][0-9]{0,17})|(?P<kind>lookup|call):(?P<id>[0-9a-fA-F-]{36}))")
NO_TEXT = re.compile("[\x00\ud800-\udfff]")
# The keys of entries that tell of a call.
KEYS_OF_A_CALL = ("charge", "hold", "settled", "unknown")


def check(*, memo: str, person: str) -> None:
    """Raises `ValueError` where a correction lacks a reason or a person's name."""
    if not memo.strip():
        raise ValueError("memo: say why the balance is corrected, for readers of the ledger.")
    check_memo(memo)
    if not person.strip():
        raise ValueError("person: say who corrects the balance.")
    if len(person) > LONGEST_PERSON:
        raise ValueError(f"person: must have at most {LONGEST_PERSON} characters.")


def check_memo(memo: str) -> None:
    """Raises `ValueError` where a column cannot keep a memo: the bytes of a command line may be no text."""
    if len(memo) > LONGEST_MEMO:
        raise ValueError(f"memo: must have at most {LONGEST_MEMO} characters.")
    if NO_TEXT.search(memo):
        raise ValueError("memo: must be text in UTF-8.")


def reference(account: Account, corrects: str) -> str:
    """Returns what is corrected as an entry's reference names it. Raises `ValueError` where the account has no entry of it."""
    match = NAMED.fullmatch(corrects.strip())
    if match is None:
        raise ValueError(f"corrects: {HOW}")
    if match["entry"]:
        return _entry(account, int(match["entry"]))
    try:
        return _lookup_or_call(account, match["kind"], UUID(match["id"]))
    except ValueError:
        raise ValueError(f"corrects: this account has no entry of that {match['kind']}; {HOW}") from None


def _entry(account: Account, number: int) -> str:
    if not Entry.objects.filter(account=account, number=number).exists():
        raise ValueError(f"corrects: this account has no entry {number}; {HOW}")
    return f"entry:{number}"


def _lookup_or_call(account: Account, kind: str, named: UUID) -> str:
    if kind == "lookup":
        found = Entry.objects.filter(account=account, reference=f"lookup:{named}")
    else:
        found = Entry.objects.filter(account=account, key__in=[f"{event}:{named}" for event in KEYS_OF_A_CALL])
    if not found.exists():
        raise ValueError(kind)
    return f"{kind}:{named}"
