"""Reads requests about credentials and dictionaries, and writes the answers. Only a request has a secret in it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError

from accounts.models import Mode
from accounts.web.pagination import PageQuery
from accounts.web.strict_fields import StrictBoolean, StrictChoice, StrictSerializer, StrictText
from providers import registry
from providers.contract import Term
from providers.keyring import advice, credentials, sealing
from providers.models import Credential

PROVIDERS = tuple(sorted(registry.PROVIDERS))
# The admin shows as many: enough to see that two keys are equal, or that one was replaced.
FINGERPRINT_CHARACTERS = 8


class Label(StrictText):
    def __init__(self, **options: Any) -> None:
        super().__init__(
            max_length=100,
            help_text="Distinguishes several keys to one provider. `default` is a label like any other: `is_default` says which "
            "key is the default.",
            **options,
        )

    def to_internal_value(self, data: Any) -> str:
        try:
            return credentials.clean_label(super().to_internal_value(data))
        except credentials.BadLabel as error:
            raise ValidationError(str(error), code=error.code) from None


# Blanks around a key are cut off. A key has printable signs of ASCII alone.
@extend_schema_field({"type": "string", "minLength": 1, "maxLength": sealing.LONGEST, "pattern": r"^\s*[!-~]+\s*$"})
class SecretText(StrictText):
    """A provider's key. Errors do not quote it."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            help_text="The key as the provider gave it to you: letters, digits and signs. It is sealed at once and never shown.",
            **options,
        )

    def to_internal_value(self, data: Any) -> str:
        try:
            return sealing.clean(super().to_internal_value(data))
        except sealing.BadSecret as error:
            raise ValidationError(str(error), code="bad_secret") from None


class CredentialRequest(StrictSerializer):
    """A key to store."""

    provider = StrictChoice(PROVIDERS, help_text="The provider that issued the key.")
    secret = SecretText()
    label: Any = Label(default=credentials.DEFAULT_LABEL)
    is_default = StrictBoolean(
        default=False,
        help_text="Whether searches that name no credential use this one. The first key to a provider is the default in any "
        "case, unless it is a magic key of the sandbox's (`sandbox_…`).",
    )


class CredentialChange(StrictSerializer):
    """Changes to a credential. All that are given are made, or none."""

    number_of_fields: ClassVar[Mapping[str, int]] = {"minProperties": 1}

    secret = SecretText(required=False)
    label: Any = Label(required=False)
    is_default = StrictBoolean(required=False, help_text="True makes this key the default in place of the present one.")

    def validate(self, values: Any) -> Any:
        if not values:
            raise ValidationError(f"Give at least one of {', '.join(self.fields)}.", code="nothing_given")
        return values

    def validate_is_default(self, is_default: bool) -> bool:
        if not is_default and self.instance is not None and self.instance.is_default:
            detail = "One credential is always the default; make another one that instead."
            raise ValidationError(detail, code="always_one")
        return is_default


class CredentialQuery(PageQuery):
    provider = StrictChoice(PROVIDERS, required=False, help_text="Only keys to this provider.")


class ProviderAccountSerializer(serializers.Serializer[Any]):
    """The account of the key, as the provider describes it."""

    credits = serializers.CharField(allow_null=True, help_text="Credits left, in the provider's own unit.")
    limits = serializers.DictField(
        read_only=True, help_text="Other limits of the account, in the provider's own words."
    )
    read_at = serializers.DateTimeField(help_text="The time at which the provider said so.")


class CredentialSerializer(serializers.ModelSerializer[Credential]):
    """A key to a provider, without the key."""

    state = serializers.ChoiceField(
        choices=Credential.State.values,
        help_text="`unknown`: not tried yet. `verified`: the provider accepted the key. `invalid`: the provider refused it. "
        "`exhausted`: the account had no credits left. Searches wait for an `invalid` or `exhausted` key (`waiting_on: "
        "credential`) and continue by themselves when it is replaced or verified: one search first, and the others when that has "
        "worked. For a while they therefore wait for a `verified` key too. Magic keys of the sandbox's (`sandbox_…`) are not "
        "checked.",
    )
    needs_reentry = serializers.SerializerMethodField(
        help_text="The stored key cannot be opened any more: PATCH its `secret`."
    )
    fingerprint = serializers.SerializerMethodField(
        help_text="Equal for equal keys. The key cannot be computed from it."
    )
    checked_at = serializers.DateTimeField(allow_null=True, help_text="The time of the last try of a check.")
    check_problem = serializers.SerializerMethodField(
        help_text="Why the key is not known to be good; null if nothing speaks against it."
    )
    warning = serializers.SerializerMethodField(
        help_text="An oddity of the key, such as another form than the provider's keys have. The key is used all the same."
    )
    account = serializers.SerializerMethodField()

    class Meta:
        model = Credential
        fields = (
            *("id", "provider", "label", "is_default", "state", "state_changed_at", "needs_reentry", "fingerprint"),
            *("checked_at", "check_problem", "warning", "account", "created_at", "updated_at"),
        )
        read_only_fields = fields

    def get_needs_reentry(self, credential: Credential) -> bool:
        return sealing.is_unreadable(credential)

    def get_fingerprint(self, credential: Credential) -> str:
        return credential.fingerprint[:FINGERPRINT_CHARACTERS]

    def get_check_problem(self, credential: Credential) -> str | None:
        return credential.check_problem or None

    def get_warning(self, credential: Credential) -> str | None:
        return advice.warning(credential) or None

    @extend_schema_field(
        ProviderAccountSerializer(
            allow_null=True, help_text="Null if the provider does not describe it, and for test keys."
        )
    )
    def get_account(self, credential: Credential) -> dict[str, Any] | None:
        if credential.account is None or self.context["mode"] == Mode.TEST:
            return None
        return dict(ProviderAccountSerializer(credential.account | {"read_at": credential.account_read_at}).data)


class TermQuery(PageQuery):
    query = serializers.CharField(
        default="",
        allow_blank=True,
        max_length=100,
        help_text="Part of a name. Without it, the answer is the beginning of the dictionary.",
    )


class TermSerializer(serializers.Serializer[Any]):
    """A line of a provider's dictionary."""

    value = serializers.SerializerMethodField("value_of")
    name = serializers.CharField(help_text="The name by which it was found.")
    title = serializers.CharField(
        help_text="The full name, or another text that distinguishes the term, if there is one; else empty."
    )

    @extend_schema_field(
        {"type": ["integer", "string"], "minimum": 0, "description": "The value for the search's parameter."}
    )
    def value_of(self, term: Term) -> int | str:
        return term.value


def label_taken(provider: str) -> ValidationError:
    detail = f"You have a {provider} credential of this label; change that one (PATCH), or choose another label."
    return ValidationError({"label": [ErrorDetail(detail, code="label_taken")]})
