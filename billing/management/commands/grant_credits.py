from decimal import Decimal
from typing import Any

from django.core.management.base import CommandParser

from billing import ledger
from billing.corrections import LONGEST_MEMO
from billing.management.movement import MovementCommand
from billing.models import Account


class Command(MovementCommand):
    help = "Grants a tenant credits with a provider; the account is prepaid from then on."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--memo", default="", help="why, for readers of the ledger")

    def move(self, account: Account, amount: Decimal, options: dict[str, Any]) -> None:
        if len(options["memo"]) > LONGEST_MEMO:
            raise ValueError(f"memo: must have at most {LONGEST_MEMO} characters.")
        ledger.grant(account, amount, memo=options["memo"])
