"""Credits, accounts, entries and statements as JSON.

Credits are printed in one way: a decimal text, without trailing zeros or exponent.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from accounts.numbers import decimal_text
from billing.models import Account, Entry, Grant, Statement

credits_text = decimal_text


CREDITS_PATTERN = r"^-?[0-9]+(\.[0-9]{1,6})?$"


@extend_schema_field({"type": "string", "pattern": CREDITS_PATTERN, "description": "Credits, as a decimal text."})
class Credits(serializers.Field[Decimal, Any, str, Any]):
    def __init__(self, **options: Any) -> None:
        super().__init__(read_only=True, **options)

    def to_representation(self, value: Decimal) -> str:
        return credits_text(value)


class CapSerializer(serializers.Serializer[Any]):
    """A cap of the present UTC month, and how much of it is spent."""

    limit = serializers.ChoiceField(
        source="name",
        choices=["tenant_cap", "key_cap"],
        help_text="Whose cap: the tenant's, or that of the API key that asks.",
    )
    size = Credits(help_text="The most that may be used and held in the month.")
    used = Credits(help_text="What lookups that were submitted in the month were charged, whenever that was.")
    held = Credits(help_text="What they still hold.")
    left = Credits(help_text="What may still be held; 0 where the cap was lowered below what is used and held.")
    renews_at = serializers.DateTimeField(help_text="When the next month begins.")


class LimitSerializer(serializers.Serializer[Any]):
    """A limit of what a search may hold and cost with a provider, in that provider's own credits."""

    name = serializers.ChoiceField(
        choices=["max_credits", "key_cap", "tenant_cap", "balance"],
        help_text="`max_credits` of the search, the cap a month of the API key (`key_cap`) or of the tenant (`tenant_cap`), or "
        "the `balance` of a prepaid account.",
    )
    provider = serializers.CharField()
    size = Credits(
        help_text="The most that may be used and held; of a balance what is posted, less grants that have ended."
    )
    used = Credits(help_text="What was charged; 0 of a balance, from whose size that is gone already.")
    held = Credits(help_text="What is held by lookups that have not ended, and for unknown outcomes.")
    asked = Credits(help_text="The most that the search can cost with the provider.")
    left = Credits(help_text="What may still be held.")
    short_by = Credits(help_text="How much of what is asked is too much; 0 where it fits.")
    renews_at = serializers.DateTimeField(
        allow_null=True, help_text="When the next month begins, for a cap. Null for the others."
    )


class GrantSerializer(serializers.Serializer[Grant]):
    """A grant with credits that may still be held."""

    number = serializers.IntegerField(min_value=1, help_text="The number of its entry.")
    amount = Credits(help_text="What was granted.")
    available = Credits(help_text="The part that is neither held, nor spent, nor expired.")
    priority = serializers.IntegerField(
        min_value=0, max_value=100, help_text="The grant of the lowest one is spent first."
    )
    expires_at = serializers.DateTimeField(
        allow_null=True, help_text="When what is not held by then expires. Null: never."
    )
    memo = serializers.CharField(help_text="Why it was granted.")


class AccountSerializer(serializers.ModelSerializer[Account]):
    """A tenant's account with one provider, in that provider's own credits."""

    posted = Credits(help_text="Grants and adjustments, less charges and expiries.")
    held = Credits(help_text="What is held by lookups that have not ended, and for unknown outcomes.")
    available = serializers.SerializerMethodField()
    unknown = Credits(help_text="The part of `held` that the provider may have billed, which is not known yet.")
    caps = CapSerializer(many=True, help_text="The tenant's cap of the month and the API key's, where they have one.")

    grants = GrantSerializer(
        source="live_grants", many=True, help_text="What may still be held of each grant, in the order of spending."
    )

    class Meta:
        model = Account
        fields = ("provider", "kind", "posted", "held", "available", "unknown", "caps", "grants")
        read_only_fields = fields

    @extend_schema_field(
        {
            "type": ["string", "null"],
            "pattern": CREDITS_PATTERN,
            "description": "What may still be held, as a decimal text. Null: no bound.",
        }
    )
    def get_available(self, account: Account) -> str | None:
        return None if account.available is None else credits_text(account.available)


class EntrySerializer(serializers.ModelSerializer[Entry]):
    """A line of the ledger."""

    provider = serializers.CharField(source="account.provider")
    number = serializers.IntegerField(
        min_value=1, help_text="1, 2, 3 … of the account, in the order of the commits, without gaps."
    )
    amount = Credits(
        help_text="`kind` says which way it counts. Negative only for an adjustment that takes credits, and for an `unknown` "
        "that is settled."
    )
    posted_after = Credits(help_text="What the account had posted after this entry.")
    held_after = Credits(help_text="What it held then.")
    unknown_after = Credits(
        help_text="The part of `held_after` that the provider may have billed, which was not known then."
    )
    reference = serializers.CharField(
        help_text="What it is for: `lookup:<id>`. For an adjustment what it corrects: `entry:<number>`, `lookup:<id>` or "
        "`call:<id>`. For an expiry the entry of its grant: `entry:<number>`. Empty for a grant."
    )
    memo = serializers.CharField(help_text="Why: of a grant, an adjustment, or an outcome that an operator settled.")

    class Meta:
        model = Entry
        fields = (
            "id",
            "provider",
            "number",
            "kind",
            "amount",
            "posted_after",
            "held_after",
            "unknown_after",
            "reference",
            "memo",
            "created_at",
        )
        read_only_fields = fields


class OpeningSerializer(serializers.Serializer[Statement]):
    """The balances at the begin of the month, which are those at the end of the month before."""

    posted = Credits(source="opening_posted")
    held = Credits(source="opening_held")
    unknown = Credits(source="opening_unknown")


class SumsSerializer(serializers.Serializer[Statement]):
    """The amounts of the month's entries, summed by kind."""

    grant = Credits(source="grants")
    expiry = Credits(source="expiries")
    adjustment = Credits(source="adjustments")
    charge = Credits(source="charges")
    hold = Credits(source="holds")
    release = Credits(source="releases")
    unknown = Credits(source="unknowns")


class ClosingSerializer(serializers.Serializer[Statement]):
    """The balances at the end of the month."""

    posted = Credits(source="closing_posted")
    held = Credits(source="closing_held", help_text="The open holds, which are carried over to the next month.")
    unknown = Credits(
        source="closing_unknown", help_text="The part of `held` of which it was not known if it was billed."
    )


@extend_schema_field({"type": "string", "pattern": "^([0-9a-f]{64})?$"})
class Hash(serializers.Field[bytes, Any, str, Any]):
    """A SHA-256 in hexadecimal digits, empty where there is nothing before."""

    def __init__(self, **options: Any) -> None:
        super().__init__(read_only=True, **options)

    def to_representation(self, value: bytes) -> str:
        return bytes(value).hex()


class StatementSerializer(serializers.ModelSerializer[Statement]):
    """A closed month of an account. It never changes."""

    provider = serializers.CharField(source="account.provider")
    month = serializers.SerializerMethodField()
    first_entry_number = serializers.IntegerField(
        source="first_number", min_value=1, help_text="The number after the last one of the month before."
    )
    last_entry_number = serializers.IntegerField(
        source="last_number",
        min_value=0,
        help_text="In a month without entries the number before `first_entry_number`.",
    )
    opening = OpeningSerializer(source="*")
    by_kind = SumsSerializer(source="*")
    closing = ClosingSerializer(source="*")
    closed_at = serializers.DateTimeField(help_text="When it was written. The month ended with a number, not then.")
    last_entry_hash = Hash(help_text="The hash of the last entry up to `last_entry_number`.")
    previous_hash = Hash(help_text="The hash of the statement of the month before; empty in the first.")
    hash = Hash(help_text="SHA-256 over all that the statement says, `previous_hash` included.")

    class Meta:
        model = Statement
        fields = (
            "id",
            "provider",
            "month",
            "first_entry_number",
            "last_entry_number",
            "opening",
            "by_kind",
            "closing",
            "closed_at",
            "last_entry_hash",
            "previous_hash",
            "hash",
        )
        read_only_fields = fields

    @extend_schema_field(
        {"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}$", "description": "In UTC.", "example": "2026-10"}
    )
    def get_month(self, statement: Statement) -> str:
        return f"{statement.month:%Y-%m}"


class UsageSerializer(serializers.Serializer[dict[str, Any]]):
    """A line of a report: what was charged for one day, source, API key or text of metadata, in one provider's own credits."""

    provider = serializers.CharField()
    day = serializers.DateField(required=False, help_text="In UTC. Here and below: where the report is grouped by it.")
    source: Any = serializers.CharField(required=False)
    api_key = serializers.UUIDField(required=False, allow_null=True, help_text="The key that made the searches.")
    api_key_prefix = serializers.CharField(
        required=False, allow_null=True, help_text="The beginning of its secret, for people."
    )
    metadata = serializers.DictField(
        child=serializers.CharField(allow_null=True),
        required=False,
        help_text="The texts of the searches at their submit, by the keys asked for. Null: none, or erased.",
    )
    charged = Credits()
    charges = serializers.IntegerField(min_value=1, help_text="The number of charges: one a call that cost something.")

    def to_representation(self, line: dict[str, Any]) -> dict[str, Any]:
        """Leaves out what the report is not grouped by. DRF would show null."""
        return {name: value for name, value in super().to_representation(line).items() if name in line}
