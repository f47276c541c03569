"""The shape of the commands that move a tenant's credits with a provider: bad input is one sentence, and moves nothing."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from decimal import Decimal
from typing import Any, ClassVar

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from accounts import acts
from accounts.models import Tenant
from billing import grants, ledger
from billing.models import Account
from billing.serializers import credits_text
from providers import registry

AMOUNT = re.compile(r" ?[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
NO_AMOUNT = "amount: must be a number of credits in the digits 0 to 9, such as 100 or 2.5."
# argparse reads -5 and -2.5 as numbers, and -1e3 as an unknown option.
WITH_EXPONENT = re.compile(r"-[0-9.]+[eE][+-]?[0-9]+")


class MovementCommand(BaseCommand, ABC):
    """`name`: the command's. `kind`: that of its act in the log of acts."""

    name: ClassVar[str]
    kind: ClassVar[str]

    def run_from_argv(self, argv: list[str]) -> None:
        """Writes a blank before a negative amount with an exponent, so that argparse takes it as an argument."""
        super().run_from_argv([f" {each}" if WITH_EXPONENT.fullmatch(each) else each for each in argv])

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant", help="the tenant's id or name")
        parser.add_argument("provider", help=", ".join(registry.PROVIDERS))
        parser.add_argument("amount", help="in the provider's own credits")

    @abstractmethod
    def move(self, account: Account, amount: Decimal, options: dict[str, Any]) -> None:
        """Moves credits. Raises `ValueError`, whose text names the argument."""

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = Tenant.find(options["tenant"])
        if tenant is None:
            raise CommandError(f"tenant: there is none called {options['tenant']!r}.")
        if options["provider"] not in registry.PROVIDERS:
            raise CommandError(f"provider: must be one of {', '.join(registry.PROVIDERS)}.")
        try:
            with transaction.atomic():
                account = ledger.account_of(tenant, options["provider"])
                amount = amount_of(options["amount"])
                self.move(account, amount, options)
                self._put_on_record(account, amount, options)
        except ArithmeticError:
            raise CommandError(NO_AMOUNT) from None
        except ValueError as error:
            raise CommandError(str(error)) from None
        self.stdout.write(f"{tenant} has {_balance(account)} at {account.provider}.")

    def _put_on_record(self, account: Account, amount: Decimal, options: dict[str, Any]) -> None:
        actor = acts.by_command(self.name, person=options.get("person", ""))
        acts.record(actor, self.kind, account, reason=options["memo"], detail=f"{credits_text(amount)} credits.")


def amount_of(text: str) -> Decimal:
    """Returns the amount. Raises `CommandError` for what `Decimal` takes beside numbers: other digits, underscores, NaN."""
    if not AMOUNT.fullmatch(text):
        raise CommandError(NO_AMOUNT)
    return Decimal(text)


def _balance(account: Account) -> str:
    account.refresh_from_db()
    grants.attach([account])
    if account.available is None:
        return f"{credits_text(account.posted)} credits posted"
    return f"{credits_text(account.available)} credits available"
