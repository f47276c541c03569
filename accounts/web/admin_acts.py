"""Puts what the admin's forms do on record in the log of acts, which takes the place of Django's own log.

A form's fields are kept with their former and their new values, unless they may be secret.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse

from accounts import acts
from accounts.models import Act
from accounts.web.admin_columns import list_of

if TYPE_CHECKING:  # unfold has no types of its own; these are Django's
    from django.contrib.admin import ModelAdmin as DjangoAdmin

    ModelAdmin = DjangoAdmin[Any]
else:
    from unfold.admin import ModelAdmin

# The acts that a row's history shows. The log has all of them.
SHOWN = 100
# The characters of a changed value that are kept: enough to know it again.
MOST_CHARACTERS = 200


class OnRecord(ModelAdmin):
    """A model's pages, whose forms are put on record. `secret_fields`: columns that no page shows."""

    secret_fields: ClassVar[tuple[str, ...]] = ()

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        return acts.record(acts.by_request(request), acts.ADD, obj, changes=message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Records nothing for a form that was saved as it was."""
        return acts.record(acts.by_request(request), acts.CHANGE, obj, changes=message) if message else None

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        return [acts.record(acts.by_request(request), acts.DELETE, row) for row in queryset]

    def response_action(self, request: HttpRequest, queryset: QuerySet[Any], *args: Any) -> HttpResponse | None:
        """Deletes chosen rows in one transaction with the record of it."""
        with transaction.atomic():
            return super().response_action(request, queryset, *args)

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:
        """Returns each changed field with its former and its new value, or alone if it may be secret."""
        return [self._change_of(form, name) for name in form.changed_data]

    def _change_of(self, form: Any, name: str) -> list[str]:
        field = form.fields.get(name)
        label = str(form[name].label) if field is not None else name
        if field is None or not (isinstance(field, forms.BooleanField) or self._is_public(name)):
            return [label]
        return [label, _in_words(field, form.initial.get(name)), _in_words(field, form.cleaned_data.get(name))]

    def _is_public(self, name: str) -> bool:
        """Returns whether the field is a column that pages show. Secrets have a field of the form's own."""
        columns = {field.name for field in (*self.opts.get_fields(), *self.opts.many_to_many) if field.concrete}
        return name in columns - {"password", *self.secret_fields}

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Shows the newest acts on a row to those who may see the row."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            # Django's own view says that there is no such row.
            return super().history_view(request, object_id)
        if not self.has_view_or_change_permission(request, row):
            raise PermissionDenied
        context = {
            **self.admin_site.each_context(request),
            "title": f"History: {row}",
            "headers": ("When", "Who", "Kind", "What", "Why"),
            "acts": acts.on(row)[:SHOWN],
            "log": list_of(Act, q=row.pk) if self.admin_site._registry[Act].has_view_permission(request) else "",
            "object": row,
            "opts": self.opts,
            "preserved_filters": self.get_preserved_filters(request),
            **(extra_context or {}),
        }
        return TemplateResponse(request, "admin/accounts/act/history.html", context)


def _in_words(field: Any, value: Any) -> str:
    """Returns a form's value as a person reads it, whether it is the initial one or the cleaned one."""
    if isinstance(field, forms.BooleanField):
        return "yes" if value else "no"
    if value is None or value == "":
        return "nothing"
    if isinstance(field, forms.ModelMultipleChoiceField):
        return ", ".join(sorted(str(each) for each in value)) or "nothing"
    if isinstance(field, forms.ModelChoiceField):
        return str(value if isinstance(value, Model) else field.clean(value))
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "nothing"
    choices = dict(getattr(field, "choices", ()))
    text = " ".join(str(choices.get(value, value)).split())
    return text if len(text) <= MOST_CHARACTERS else f"{text[:MOST_CHARACTERS]}…"
