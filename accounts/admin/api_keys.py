"""The pages of API keys. A key's secret is shown once, by the answer that issues it."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminCheckboxSelectMultipleWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminTextareaWidget,
)

from accounts import keys
from accounts.admin.tenants import MODE_COLOURS
from accounts.models import ApiKey, Scope
from accounts.models.api_keys import all_scopes
from accounts.net import allowed_networks
from accounts.web.admin_base import Page, locked
from accounts.web.admin_columns import badge, badge_column, page_of
from accounts.web.admin_dialogs import ActionVariant, DialogForm, Done, ReasonForm, dialog
from accounts.web.admin_filters import ByCondition, ByTenant, by_choice

STATE_COLOURS = {"valid": "success", "expired": "warning", "revoked": "danger"}
# The columns of a key that say what it may do, until when and from where.
RIGHTS = ("scopes", "allowed_networks", "expires_at")
# As long as over the API: a day usually, 30 days at most.
USUAL_OVERLAP_HOURS, LONGEST_OVERLAP_HOURS = 24, 720


class ByKeyState(ByCondition):
    title, parameter_name = "state", "state"
    conditions = {
        "valid": ApiKey.is_valid_now(),
        "expired": Q(revoked_at=None) & ~ApiKey.is_valid_now(),
        "revoked": ~Q(revoked_at=None),
    }


class NetworksField(forms.CharField):
    """Networks, one a line."""

    widget = UnfoldAdminTextareaWidget

    def prepare_value(self, value: Any) -> Any:
        return "\n".join(value) if isinstance(value, list) else value

    def to_python(self, value: Any) -> Any:
        return [self._parsed(line.strip()) for line in str(value or "").splitlines() if line.strip()]

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return bool(self.to_python(data) != (initial or []))
        except forms.ValidationError:
            return True

    def _parsed(self, line: str) -> str:
        try:
            return allowed_networks.parse(line)
        except allowed_networks.BadNetwork as error:
            raise forms.ValidationError(f"{line}: {error}") from None


class ApiKeyForm(forms.ModelForm):
    scopes = forms.MultipleChoiceField(
        choices=[(scope.value, f"{scope.value}: {scope.label}") for scope in Scope],
        initial=all_scopes,
        required=False,
        widget=UnfoldAdminCheckboxSelectMultipleWidget,
        help_text="What requests with the key may do.",
    )
    allowed_networks = NetworksField(
        required=False, help_text="One a line, such as 203.0.113.0/24. Empty: the key is taken from everywhere."
    )

    class Meta:
        model = ApiKey
        fields = ("tenant", "label", "mode", *RIGHTS)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        tenant_id = cleaned["tenant"].pk if "tenant" in cleaned else self.instance.tenant_id
        if tenant_id is not None and self._makes_one_more(cleaned.get("expires_at")):
            try:
                keys.check_room(locked(tenant_id))
            except keys.TooManyApiKeys as error:
                raise forms.ValidationError(str(error)) from None
        return cleaned

    def _makes_one_more(self, expires_at: datetime | None) -> bool:
        """Returns whether the form makes a key, or makes an expired one valid again."""
        if self.instance._state.adding:
            return True
        return self.instance.state == "expired" and (expires_at is None or expires_at > timezone.now())


class RotationForm(ReasonForm):
    overlap_hours = forms.IntegerField(
        min_value=0,
        max_value=LONGEST_OVERLAP_HOURS,
        initial=USUAL_OVERLAP_HOURS,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="For so many hours the former secret stays valid, 0 to 720; with 0 it is void at once.",
    )


@admin.register(ApiKey)
class ApiKeyAdmin(Page):
    icon = "key"
    form = ApiKeyForm
    list_display = ("__str__", "tenant", "label", "mode_badge", "state", "last_used_at", "expires_at", "created_at")
    list_select_related = ("tenant",)
    list_filter = (ByTenant, by_choice("mode"), ByKeyState)
    search_fields = ("tenant__name", "label", "prefix__startswith")
    search_help_text = "A tenant, a label, how the key begins, or an id"
    ordering = ("-id",)
    secret_fields = ("digest",)
    autocomplete_fields = ("tenant",)
    fields = ("tenant", "label", "mode", *RIGHTS)
    actions_detail = ("rotate", "revoke")
    mode_badge = badge_column("mode", MODE_COLOURS)

    def has_delete_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        """Refuses: searches refer to the key. A key that must go is revoked."""
        return False

    def get_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        on_record = ("id", "prefix", "created_at", "last_used_at", "revoked_at")
        return (*self.fields, *on_record) if obj else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        return tuple(f for f in self.get_fields(request, obj) if f not in ("label", *RIGHTS)) if obj else ()

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        if change:
            # The other columns may have changed since the form read them: a revocation or a rotation would be undone.
            obj.save(update_fields=("label", *RIGHTS))
            return
        rights = {name: getattr(obj, name) for name in RIGHTS}
        key, secret = keys.issue(obj.tenant, obj.mode, obj.label, **rights)
        obj.pk = key.pk
        obj.refresh_from_db()
        obj.secret = secret

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        """Shows the secret on a page, not in a message: a cookie keeps messages until they are read."""
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "The new API key",
            "key": obj,
            "address": page_of(obj),
        }
        return TemplateResponse(request, "admin/accounts/apikey/issued.html", context)

    @admin.display(description="state", ordering="revoked_at")
    def state(self, obj: ApiKey) -> SafeString:
        return badge(obj.state, STATE_COLOURS)

    @dialog(
        "Rotate",
        permission="accounts.change_apikey",
        icon="autorenew",
        form_class=RotationForm,
        offered=lambda key: key.state == "valid",
        title="Make a new secret for this API key?",
        text="It is shown once. The present secret stays valid for as long as you say here.",
        button="Rotate",
    )
    def rotate(self, key: ApiKey, form: RotationForm) -> Done:
        hours = form.cleaned_data["overlap_hours"]
        secret = keys.rotate(key, timedelta(hours=hours))
        said = f"Rotated; the former secret is valid for {hours} hours more."
        return Done(record=said, message="The new secret of the API key", secret=secret)

    @dialog(
        "Revoke",
        permission="accounts.change_apikey",
        icon="key_off",
        needs_reason=True,
        variant=ActionVariant.DANGER,
        offered=lambda key: key.revoked_at is None,
        title="Revoke this API key?",
        text="Requests with it are refused from now on. It cannot be made valid again.",
        button="Revoke",
    )
    def revoke(self, key: ApiKey, form: DialogForm) -> Done:
        keys.revoke(key)
        return Done(record="Revoked.", message=f"{key} is revoked.")
