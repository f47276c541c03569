"""The forms of the dialogs that move credits."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib.admin.utils import unquote
from unfold.widgets import (
    UnfoldAdminDecimalFieldWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextInputWidget,
)
from uuid_utils.compat import uuid7

from accounts.web.admin_dialogs import DialogForm
from billing import ledger
from billing.models import Grant


class CreditsForm(DialogForm):
    """Asks for an amount and a reason. A dialog that was opened once counts once, however often it is sent."""

    reason_field = "memo"
    amount = forms.DecimalField(max_digits=18, decimal_places=6, widget=UnfoldAdminDecimalFieldWidget)
    memo = forms.CharField(
        max_length=200, widget=UnfoldAdminTextInputWidget, help_text="Why, for readers of the ledger."
    )
    key = forms.UUIDField(initial=uuid7, widget=forms.HiddenInput)


class GrantForm(CreditsForm):
    amount = forms.DecimalField(
        max_digits=18, decimal_places=6, min_value=Decimal("0.000001"), widget=UnfoldAdminDecimalFieldWidget
    )
    expires_at = forms.DateTimeField(
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="In UTC, such as 2027-01-31 00:00. Empty: never. What is held then stays good for its hold.",
    )
    priority = forms.IntegerField(
        required=False,
        min_value=Grant.LOWEST,
        max_value=Grant.HIGHEST,
        initial=Grant.USUAL,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="The grant of the lowest one is spent first, then the one that expires first.",
    )


class AdjustForm(CreditsForm):
    corrects = forms.CharField(
        max_length=60,
        widget=UnfoldAdminTextInputWidget,
        help_text="What was wrong: the number of an entry of this account, lookup:<id>, or call:<id>.",
    )


class SettleForm(DialogForm):
    reason_field = "memo"
    charged = forms.DecimalField(
        max_digits=18,
        decimal_places=6,
        min_value=0,
        widget=UnfoldAdminDecimalFieldWidget,
        help_text="What the provider billed: 0 if nothing, at most what is unknown. The rest is released.",
    )
    memo = forms.CharField(
        max_length=200,
        widget=UnfoldAdminTextInputWidget,
        help_text="How you know. The tenant reads it in its ledger.",
    )
    key = forms.UUIDField(initial=uuid7, widget=forms.HiddenInput)
    seen = forms.IntegerField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["seen"].initial = ledger.last_unknown(unquote(self.object_id))
