from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from accounts.models import Tenant
from billing import ledger
from billing.serializers import credits_text
from providers import registry


class Command(BaseCommand):
    help = "Grants a tenant credits with a provider; the account is prepaid from then on."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("tenant", help="the tenant's id or name")
        parser.add_argument("provider", help=", ".join(registry.PROVIDERS))
        parser.add_argument("amount", help="in the provider's own credits")
        parser.add_argument("--note", default="")

    def handle(self, *args: Any, **options: Any) -> None:
        tenant = Tenant.find(options["tenant"])
        if tenant is None:
            raise CommandError(f"tenant: there is none called {options['tenant']!r}.")
        if options["provider"] not in registry.PROVIDERS:
            raise CommandError(f"provider: must be one of {', '.join(registry.PROVIDERS)}.")
        if len(options["note"]) > 200:
            raise CommandError("note: must have at most 200 characters.")
        try:
            with transaction.atomic():
                account = ledger.account_of(tenant, options["provider"])
                ledger.grant(account, Decimal(options["amount"]), note=options["note"])
        except InvalidOperation:
            raise CommandError("amount: must be a number of credits, such as 100 or 2.5.") from None
        except ValueError as error:
            raise CommandError(str(error)) from None
        account.refresh_from_db()
        available = credits_text(account.available or Decimal(0))
        self.stdout.write(f"{tenant} has {available} credits available at {account.provider}.")
