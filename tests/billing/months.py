"""Lets months end by what the database is told of the time: no test waits for a month's end."""

from __future__ import annotations

from datetime import UTC, datetime

from django.db import connection, transaction

from billing import alerts
from billing.models import Account, Statement


def end_month(account: Account) -> int:
    """Closes the open month of an account, as if it had just ended. Returns the number of statements."""
    query = """
        SELECT billing_close_months(id, (open_month + interval '1 month') AT TIME ZONE 'UTC') FROM billing_account WHERE id = %s
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(query, [account.pk])
        closed: int = cursor.fetchone()[0]
        # A grant that expires within the month may reach a share, as in `statements.close`.
        alerts.announce()
    return closed


def open_since(account: Account, months: int) -> None:
    """Lets the account's open month be so many months ago: they have ended, and nobody has closed them."""
    query = """
        UPDATE billing_account
        SET open_month = date_trunc('month', clock_timestamp() AT TIME ZONE 'UTC') - make_interval(months => %s) WHERE id = %s
    """
    with connection.cursor() as cursor:
        cursor.execute(query, [months, account.pk])


def end_of_open_month(account: Account) -> datetime:
    month = Account.objects.get(pk=account.pk).open_month
    return datetime(month.year + month.month // 12, month.month % 12 + 1, 1, tzinfo=UTC)


def statements_of(account: Account) -> list[Statement]:
    return list(Statement.objects.filter(account=account).order_by("month"))


def ranges(account: Account) -> list[tuple[int, int]]:
    return [(statement.first_number, statement.last_number) for statement in statements_of(account)]
