"""Prices, accounts, and the ledger that every balance can be rebuilt from.

Credits are each provider's own unit and never summed across providers. An account's running sums are a cache of its entries,
moved in the same transaction; `ledger` alone writes them (`entries.sql`) and `audit_ledger` proves them.
"""

from billing.models.accounts import Account, CreditsField, Price
from billing.models.alerts import ThresholdAlert
from billing.models.audits import LedgerAudit
from billing.models.caps import Budget, KeyCap, KeyMonth, TenantCap, TenantMonth
from billing.models.credit_days import CreditDay
from billing.models.entries import Entry, Hold
from billing.models.grants import Draw, Grant
from billing.models.reconciliations import Reading, Reconciliation
from billing.models.statements import Statement
from billing.models.usage import Usage, UsageByMetadata, UsageCount

__all__ = [
    "Account",
    "Budget",
    "CreditDay",
    "CreditsField",
    "Draw",
    "Entry",
    "Grant",
    "Hold",
    "KeyCap",
    "KeyMonth",
    "LedgerAudit",
    "Price",
    "Reading",
    "Reconciliation",
    "Statement",
    "TenantCap",
    "TenantMonth",
    "ThresholdAlert",
    "Usage",
    "UsageByMetadata",
    "UsageCount",
]
