"""Readings of providers' own counts, and their comparisons with the calls, as JSON."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from billing import reconciliation
from billing.models import Reading, Reconciliation
from billing.serializers import Credits


class ReconciliationSerializer(serializers.ModelSerializer[Reconciliation]):
    """The comparison of what a provider counted for a key between two readings with what the calls with the key cost."""

    provider = serializers.CharField(source="credential.provider")
    began_at: Any = serializers.DateTimeField(source="opening.answered_at", help_text="The time of the reading before.")
    ended_at: Any = serializers.DateTimeField(source="closing.answered_at", help_text="The time of this reading.")
    state = serializers.ChoiceField(
        choices=Reconciliation.State.values,
        help_text="`matches`: the provider counted what the calls cost. `explained_by_unknown`: calls whose outcome is unknown "
        "explain the difference. `shared_account`: the provider counted more, so its account is shared with calls that are made "
        "elsewhere. `topped_up`: credits were added, so the count proves nothing. `counted_less`: the provider counted less "
        "than the calls cost, so it billed less or credits were added. `unexplained`: it counted more, and its count of requests "
        "says that nobody else called; `credits.drift_found` announces it.",
    )
    detail = serializers.SerializerMethodField(help_text="A sentence that says what was found.")
    counted = Credits(help_text="By how much the credits left fell; negative where they rose.")
    calls = serializers.IntegerField(
        source="own_calls", min_value=0, help_text="Your own calls that surely were made between the readings."
    )
    billed = Credits(source="own_billed", help_text="What those calls cost, as their answers say.")
    overbilled = Credits(
        source="own_overbilled",
        help_text="The part of `billed` that was above a lookup's hold. Nobody is charged for it.",
    )
    overlapping = Credits(
        source="own_overlapping", help_text="The most that your calls cost which were under way at a reading."
    )
    unknown = Credits(source="own_unknown", help_text="The most that your calls cost whose outcome is unknown.")
    is_shared = serializers.BooleanField(
        help_text="Whether others use the account too. What their calls cost is not shown, but counts in `topped_up` and `drift`."
    )
    topped_up = Credits(help_text="So much, at least, was added to the account.")
    drift = Credits(help_text="What is left of the difference; negative where the provider counted less.")

    class Meta:
        model = Reconciliation
        fields = (
            *(
                "id",
                "credential_id",
                "provider",
                "began_at",
                "ended_at",
                "state",
                "detail",
                "counted",
                "calls",
                "billed",
            ),
            *("overbilled", "overlapping", "unknown", "is_shared", "topped_up", "drift", "created_at"),
        )
        read_only_fields = fields

    def get_detail(self, row: Reconciliation) -> str:
        return reconciliation.detail(row)


class ReadingSerializer(serializers.ModelSerializer[Reading]):
    """The credits that a key's account has left, as its provider says."""

    provider = serializers.CharField(source="credential.provider")
    read_at: Any = serializers.DateTimeField(source="answered_at", help_text="When the provider said so.")
    credits = Credits(help_text="The credits left, in the provider's own unit.")
    detail = serializers.SerializerMethodField(
        help_text="A sentence that says what was found, or why nothing was compared."
    )
    reconciliation = serializers.SerializerMethodField()

    class Meta:
        model = Reading
        fields = ("id", "credential_id", "provider", "read_at", "credits", "detail", "reconciliation")
        read_only_fields = fields

    @extend_schema_field(
        ReconciliationSerializer(
            allow_null=True,
            help_text="Null for the first reading of a key, and where the one before is more than a week older: "
            "the next is compared with it.",
        )
    )
    def get_reconciliation(self, reading: Reading) -> dict[str, Any] | None:
        row = _comparison_of(reading)
        return None if row is None else dict(ReconciliationSerializer(row).data)

    def get_detail(self, reading: Reading) -> str:
        row = _comparison_of(reading)
        return reconciliation.uncompared(reading) if row is None else reconciliation.detail(row)


def _comparison_of(reading: Reading) -> Reconciliation | None:
    return Reconciliation.objects.select_related("credential", "opening", "closing").filter(closing=reading).first()
