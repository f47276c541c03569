from decimal import Decimal
from typing import Any

from django.core.management.base import CommandParser

from billing import ledger
from billing.management.movement import MovementCommand
from billing.models import Account


class Command(MovementCommand):
    name, kind = "adjust_credits", "adjust"
    help = "Corrects a tenant's balance with a provider: adds credits, or takes them where the amount is negative."

    def add_arguments(self, parser: CommandParser) -> None:
        super().add_arguments(parser)
        parser.add_argument("--memo", default="", help="why the balance is corrected")
        parser.add_argument("--person", default="", help="who corrects it")
        parser.add_argument(
            "--corrects", default="", help="what was wrong: the number of an entry, lookup:<id> or call:<id>"
        )

    def move(self, account: Account, amount: Decimal, options: dict[str, Any]) -> None:
        ledger.adjust(account, amount, memo=options["memo"], person=options["person"], corrects=options["corrects"])
