import re
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.core.management.base import CommandParser

from billing import grants, ledger
from billing.management.movement import MovementCommand
from billing.models import Account, Grant


class Command(MovementCommand):
    name, kind = "grant_credits", "grant"
    help = "Grants a tenant credits with a provider; the account is prepaid from then on."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--memo", default="", help="why, for readers of the ledger")
        parser.add_argument("--expires-at", default="", help="when what is not held expires, as 2027-01-31T00:00:00Z")
        parser.add_argument(
            "--priority", default=str(Grant.USUAL), help="0 to 100: the grant of the lowest one is spent first"
        )

    def move(self, account: Account, amount: Decimal, options: dict[str, Any]) -> None:
        expires_at, priority = _time(options["expires_at"]), _whole(options["priority"])
        ledger.grant(account, amount, memo=options["memo"], expires_at=expires_at, priority=priority)


def _time(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        raise ValueError(grants.EXPIRES_AT) from None


def _whole(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,3}", text):
        raise ValueError(grants.PRIORITY)
    return int(text)
