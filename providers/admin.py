"""The pages of credentials and policies. No answer has a credential's secret, not even a form with errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import admin
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.views.decorators.debug import sensitive_post_parameters
from unfold.widgets import UnfoldAdminPasswordWidget, UnfoldAdminSelectWidget

from accounts.bulk_acts.kinds import BulkKind, Failed, Skipped, Written
from accounts.bulk_acts.pages import BulkActs
from accounts.web.admin_base import Page, locked
from accounts.web.admin_columns import badge, indented, moment, reason
from accounts.web.admin_dialogs import DialogForm, Done, dialog
from accounts.web.admin_filters import ByTenant, DropdownFilter, by_choice
from providers import policies, registry
from providers.keyring import advice, credentials, sealing, verification
from providers.models import Credential, Policy

STATE_COLOURS = {"unknown": "info", "verified": "success", "invalid": "danger", "exhausted": "warning"}
NEEDS_REENTRY = {"needs re-entry": "danger"}


class ByProvider(DropdownFilter):
    """Offers the providers of the registry, without reading the table for those in it."""

    title, parameter_name = "provider", "provider"
    field = "provider"
    names: Mapping[str, Any] = registry.PROVIDERS

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in self.names]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Model]) -> QuerySet[Model]:
        return queryset.filter(**{self.field: self.value()}) if self.value() else queryset


class BySource(ByProvider):
    title, parameter_name = "source", "source"
    field = "source"
    names = registry.ADAPTERS


def choice_of(known: Mapping[str, Any]) -> forms.ChoiceField:
    return forms.ChoiceField(choices=lambda: [(name, name) for name in known], widget=UnfoldAdminSelectWidget)


class PolicyForm(forms.ModelForm):
    def clean_page_size(self) -> int:
        size: int = self.cleaned_data["page_size"]
        most = registry.PROVIDERS[self.instance.provider].max_results
        if most is not None and size > most:
            raise forms.ValidationError(f"{self.instance.provider} gives at most {most} results; ask for no more.")
        return size


@admin.register(Policy)
class PolicyAdmin(Page):
    icon = "speed"
    form = PolicyForm
    list_display = ("provider", "limit", "guard_ms", "scope", "max_in_flight", "state", "updated_at")
    list_filter = ("paused", by_choice("scope"), by_choice("on_unknown"))
    search_fields = ("provider",)
    readonly_fields = ("provider", "updated_at")
    fieldsets = (
        (None, {"fields": ("provider", "paused", "updated_at")}),
        ("The limit", {"fields": ("calls", "window_ms", "guard_ms", "scope")}),
        ("A call", {"fields": ("page_size", "max_in_flight")}),
        (
            "Its time limits",
            {"fields": ("connect_timeout_ms", "write_timeout_ms", "read_timeout_ms", "total_timeout_ms")},
        ),
        ("When it goes wrong", {"fields": ("attempts", "throttled_seconds", "on_unknown")}),
    )

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Policy | None = None) -> bool:
        """Refuses: a provider without a row has its adapter's defaults, so an edit would be lost."""
        return False

    def changelist_view(self, request: HttpRequest, extra_context: dict[str, str] | None = None) -> HttpResponse:
        for provider in registry.PROVIDERS:
            policies.of(provider)
        return super().changelist_view(request, extra_context)

    @admin.display(description="limit")
    def limit(self, obj: Policy) -> str:
        return f"{obj.calls} in {obj.window_ms:,} ms"

    @admin.display(description="state", ordering="paused")
    def state(self, obj: Policy) -> SafeString:
        return badge("paused" if obj.paused else "open", {"open": "success", "paused": "warning"})


class CredentialForm(forms.ModelForm):
    """Fixes tenant, provider and label of a stored credential: `store` replaces the secret of an equal label."""

    provider = choice_of(registry.PROVIDERS)
    secret = forms.CharField(
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        max_length=4096,
        help_text="The tenant's own key to the provider. It is sealed at once and cannot be shown again.",
    )

    class Meta:
        model = Credential
        fields = ("tenant", "provider", "label")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.instance.fingerprint:
            self.fields["secret"].required = False
            self.fields["secret"].help_text = "Leave it empty to keep the one that is stored."

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or self.cleaned_data
        if self.instance.fingerprint:
            self._check_presence()
        elif "tenant" in cleaned:
            self._check_room(cleaned["tenant"].pk, cleaned.get("provider", ""), cleaned.get("label", ""))
        return cleaned

    def _check_presence(self) -> None:
        locked(self.instance.tenant_id)
        if not Credential.objects.filter(pk=self.instance.pk).exists():
            raise forms.ValidationError("It was deleted meanwhile; store it anew.")

    def _check_room(self, tenant_id: UUID, provider: str, label: str) -> None:
        try:
            credentials.check_room(locked(tenant_id), provider, label)
        except credentials.TooManyCredentials as error:
            raise forms.ValidationError(str(error)) from None

    def clean_label(self) -> str:
        try:
            return credentials.clean_label(self.cleaned_data["label"])
        except credentials.BadLabel as error:
            raise forms.ValidationError(str(error)) from None

    def clean_secret(self) -> str:
        secret: str = self.cleaned_data["secret"]
        if secret and not sealing.SENDABLE.fullmatch(secret):
            raise forms.ValidationError("Use letters, digits and signs only, without spaces or line breaks.")
        return secret


def verify(credential: Credential, written: Written) -> None:
    """Verifies a key in a bulk act. What the provider says is noted, whatever becomes of the bulk act."""
    verification.verify(credential)
    credential.refresh_from_db()
    if credential.check_problem:
        raise (Failed if credential.provider in registry.FREE_CALLS else Skipped)(credential.check_problem)
    with transaction.atomic():
        written()


VERIFY = BulkKind(
    name="verify",
    label="Verify all that match",
    icon="verified_user",
    text="Asks the provider about every key that matches, where it has a call for that which costs nothing. A dead key of "
    "another provider is tried again by the next search.",
    button="Verify the keys",
    permission="providers.change_credential",
    act=verify,
    weigh=lambda rows: ["It costs no credits. Each key is one call, at the pace of its provider's limit."],
)


@admin.register(Credential)
class CredentialAdmin(BulkActs, Page):
    icon = "vpn_key"
    form = CredentialForm
    list_display = ("__str__", "tenant", "state_badge", "why", "is_default", "begins", "state_changed_at", "updated_at")
    list_select_related = ("tenant",)
    list_filter = (ByTenant, ByProvider, by_choice("state"))
    search_fields = ("tenant__name", "label", "fingerprint__startswith")
    search_help_text = "A tenant, a label, how the fingerprint begins, or an id"
    ordering = ("-id",)
    secret_fields = ("sealed", "fingerprint")
    autocomplete_fields = ("tenant",)
    fields = ("tenant", "provider", "label", "secret")
    actions_detail: tuple[str, ...] = ("verify", "make_default")
    bulk_kinds = (VERIFY,)

    def get_fields(self, request: HttpRequest, obj: Credential | None = None) -> tuple[str, ...]:
        on_record = (
            *("is_default", "state_badge", "state_changed_at", "probing", "rests_until"),
            *("checked_at", "check_problem", "oddity"),
            *("provider_account", "begins", "id", "created_at", "updated_at"),
        )
        return (*self.fields, *on_record) if obj else self.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Credential | None = None) -> tuple[str, ...]:
        """Fixes all but the secret of a stored credential."""
        return tuple(f for f in self.get_fields(request, obj) if f != "secret") if obj else ()

    @method_decorator(sensitive_post_parameters("secret"))
    def changeform_view(self, *args: Any, **kwargs: Any) -> HttpResponse:
        return super().changeform_view(*args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Credential, form: Any, change: bool) -> None:
        secret = form.cleaned_data["secret"]
        if secret:
            if change:
                credentials.change(obj, secret=secret)
            else:
                obj.pk = credentials.store(obj.tenant, obj.provider, secret, label=obj.label).pk
                obj.refresh_from_db()
            # The credential is stored, whatever the provider answers.
            transaction.on_commit(lambda: verification.check(obj), robust=True)

    def delete_model(self, request: HttpRequest, obj: Credential) -> None:
        credentials.remove(obj)

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Credential]) -> None:
        for credential in queryset:
            credentials.remove(credential)

    @admin.display(description="state", ordering="state")
    def state_badge(self, obj: Credential) -> SafeString:
        if sealing.is_unreadable(obj):
            return badge("needs re-entry", NEEDS_REENTRY)
        return badge(obj.state, STATE_COLOURS, obj.get_state_display())

    @admin.display(description="why")
    def why(self, obj: Credential) -> SafeString:
        """Returns why searches with the key fail or wait, and what a check of it met."""
        if sealing.is_unreadable(obj):
            return reason("sealed by a key that is gone", sealing.NEEDS_REENTRY)
        if obj.is_dead:
            return reason("its lookups wait", obj.check_problem or f"It is {obj.get_state_display()}.")
        if obj.rests_until and obj.rests_until > timezone.now():
            return reason("the provider asked it to wait", format_html("which ends {}", moment(obj.rests_until)))
        if obj.probing:
            return reason("one lookup is tried at a time", "It was found dead, and no search has worked with it since.")
        return reason("not checked", obj.check_problem) if obj.check_problem else SafeString("-")

    @admin.display(description="warning")
    def oddity(self, obj: Credential) -> str:
        return advice.warning(obj) or "-"

    @admin.display(description="account")
    def provider_account(self, obj: Credential) -> SafeString:
        return indented(obj.account | {"read_at": obj.account_read_at}) if obj.account else SafeString("-")

    @admin.display(description="fingerprint")
    def begins(self, obj: Credential) -> str:
        return f"{obj.fingerprint[:8]}…"

    @dialog(
        "Verify",
        permission="providers.change_credential",
        icon="verified_user",
        asks_outside=True,
        title="Verify it now?",
        text="Where the provider has a call for it that costs nothing, it is asked; elsewhere a dead key is "
        "tried again by the next search. Lookups that wait for it continue by themselves.",
        button="Verify",
    )
    def verify(self, credential: Credential, form: DialogForm) -> Done:
        verification.verify(credential)
        credential.refresh_from_db()
        problem, state = credential.check_problem, credential.get_state_display()
        return Done(
            record=f"Verified: {problem or state}.", message=problem or f"{credential}: {state}.", warning=bool(problem)
        )

    @dialog(
        "Make it the default",
        permission="providers.change_credential",
        icon="star",
        offered=lambda credential: not credential.is_default,
        title="Make it the default?",
        text="Searches that name no credential use it from now on; those that wait keep theirs.",
        button="Make it the default",
    )
    def make_default(self, credential: Credential, form: DialogForm) -> Done:
        credentials.change(credential, is_default=True)
        return Done(record="Made the default.", message=f"{credential} is the default now.")
