"""Credits, accounts and entries as JSON. Credits are printed in one way: a decimal text, without trailing zeros or exponent."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing.models import Account, Entry


def credits_text(amount: Decimal) -> str:
    text = f"{amount:f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


@extend_schema_field(
    {"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]{1,6})?$", "description": "Credits, as a decimal text."}
)
class Credits(serializers.Field[Decimal, Any, str, Any]):
    def __init__(self, **options: Any) -> None:
        super().__init__(read_only=True, **options)

    def to_representation(self, value: Decimal) -> str:
        return credits_text(value)


class AccountSerializer(serializers.ModelSerializer[Account]):
    """A tenant's account with one provider, in that provider's own credits."""

    posted = Credits(help_text="Grants and adjustments, less charges.")
    held = Credits(help_text="Set aside for lookups that have not ended, and for unknown outcomes.")
    available = serializers.SerializerMethodField()
    unknown = Credits(help_text="The part of `held` of which nobody can say yet whether the provider billed it.")

    class Meta:
        model = Account
        fields = ("provider", "kind", "posted", "held", "available", "unknown")
        read_only_fields = fields

    @extend_schema_field({"type": ["string", "null"], "description": "What may still be spent; null: no bound."})
    def get_available(self, account: Account) -> str | None:
        return None if account.available is None else credits_text(account.available)


class EntrySerializer(serializers.ModelSerializer[Entry]):
    """A line of the ledger."""

    provider = serializers.CharField(source="account.provider")
    number = serializers.IntegerField(help_text="1, 2, 3 … of the account, in the order of the commits, without gaps.")
    amount = Credits(
        help_text="`kind` says which way it counts. Negative only for an adjustment that takes credits, and for an `unknown` "
        "that is settled."
    )
    posted_after = Credits(help_text="What the account had posted after this entry.")
    held_after = Credits(help_text="What it held then.")
    unknown_after = Credits(help_text="The part of `held_after` of which nobody could say whether it was billed.")
    reference = serializers.CharField(
        help_text="What it is for: `lookup:<id>`. For an adjustment what it corrects: `entry:<number>`, `lookup:<id>` or "
        "`call:<id>`. Empty for a grant."
    )
    memo = serializers.CharField(help_text="Why, for grants and adjustments.")

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
