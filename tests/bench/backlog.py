"""Writes a backlog of any size at once: copies, made by the database, of the rows that one real submit left behind.

Only what must differ between two lookups does, so that a column that is added later needs nothing here.
"""

from __future__ import annotations

from django.db import connection, transaction
from django.db.models import Model

from accounts.models import Tenant
from billing.models import Account, Entry, Hold
from providers.models import Credential
from searches.lanes import queue
from searches.models import Image, Lookup, Rendering, Search, TenantQueue
from tests.bench.tenants import Submitter

TENANTS = """
CREATE TEMPORARY TABLE one_tenant ON COMMIT DROP AS SELECT
    n, uuidv7() AS tenant, uuidv7() AS credential, uuidv7() AS image, uuidv7() AS account
FROM generate_series(0, {tenants} - 1) AS n
"""
LOOKUPS = """
CREATE TEMPORARY TABLE one_lookup ON COMMIT DROP AS SELECT
    one.n AS nth, one_tenant.*, uuidv7() AS search, uuidv7() AS lookup, uuidv7() AS entry
FROM generate_series(1, {lookups}) AS one(n) JOIN one_tenant ON one_tenant.n = one.n % {tenants}
"""
OF_A_TENANT: dict[type[Model], dict[str, str]] = {
    Tenant: {"id": "one.tenant", "name": "'tenant ' || one.n"},
    Credential: {"id": "one.credential", "tenant_id": "one.tenant"},
    Image: {"id": "one.image", "tenant_id": "one.tenant", "file": "row.file || one.n"},
    Rendering: {"image_id": "one.image"},
    Account: {"id": "one.account", "tenant_id": "one.tenant", "last_number": "{lookups}"},
    # As in a lane that has run for long: no two tenants have the same virtual time.
    TenantQueue: {"tenant_id": "one.tenant", "ready": "{lookups} / {tenants}", "virtual_time": "random() * {step}"},
}
OF_A_LOOKUP: dict[type[Model], dict[str, str]] = {
    Search: {"id": "one.search", "tenant_id": "one.tenant", "image_id": "one.image"},
    Lookup: {
        "id": "one.lookup",
        "search_id": "one.search",
        "tenant_id": "one.tenant",
        "credential_id": "one.credential",
        "sort_key": "row.sort_key + one.nth",
    },
    Hold: {"reference": "'lookup:' || one.lookup", "account_id": "one.account"},
    Entry: {
        "id": "one.entry",
        "account_id": "one.account",
        "number": "one.nth",
        "reference": "'lookup:' || one.lookup",
        "key": "'hold:lookup:' || one.lookup",
    },
}


def write(*, lookups: int, tenants: int) -> None:
    """Ready in one lane, beside the one that was submitted. The bench's tables must be empty before."""
    Submitter("template").submit()
    numbers = {"lookups": lookups, "tenants": tenants, "step": queue.STEP}
    with transaction.atomic(), connection.cursor() as cursor:
        for statement in (TENANTS, LOOKUPS):
            cursor.execute(statement.format(**numbers))
        for source, copied in (("one_tenant", OF_A_TENANT), ("one_lookup", OF_A_LOOKUP)):
            for model, different in copied.items():
                cursor.execute(_copy(model, source, different).format(**numbers))
    with connection.cursor() as cursor:
        # As autovacuum would after a while.
        cursor.execute("VACUUM ANALYZE")


def bytes_a_lookup(lookups: int) -> float:
    """Counts what PostgreSQL keeps of a waiting lookup, indexes and all: its search, its hold and the hold's entry with it."""
    with connection.cursor() as cursor:
        tables = ", ".join(f"pg_total_relation_size('{model._meta.db_table}')" for model in OF_A_LOOKUP)
        cursor.execute(f"SELECT {tables}")
        return float(sum(cursor.fetchone())) / lookups


def _copy(model: type[Model], source: str, different: dict[str, str]) -> str:
    columns = [str(field.column) for field in model._meta.concrete_fields]
    columns = [column for column in columns if column != "id" or column in different]
    values = ", ".join(different.get(column, f'row."{column}"') for column in columns)
    names = ", ".join(f'"{column}"' for column in columns)
    table = model._meta.db_table
    return f"INSERT INTO {table} ({names}) SELECT {values} FROM {source} AS one, (SELECT * FROM {table} LIMIT 1) AS row"
