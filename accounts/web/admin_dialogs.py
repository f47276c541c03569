"""Actions on a row that ask first, in a dialog: the one shape of every change that operators make beside forms.

Only operators with the permission, and only where the row's state allows it, are offered the action, and only they can do it.
What was done is on record in the log of acts, with its reason. An act that costs or cannot be undone needs one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, ClassVar

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import Model
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from unfold.enums import ActionVariant
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts import acts
from accounts.models import Act
from accounts.web.admin_columns import page_of

if TYPE_CHECKING:  # unfold has no types of its own

    class BaseDialogForm(forms.Form):
        request: HttpRequest
        object_id: str

    # `permissions` name methods of the page: of Django's own names unfold asks the database, before it is migrated.
    def action(
        *,
        description: str,
        icon: str,
        permissions: Sequence[str] | None = None,
        variant: ActionVariant = ...,
        dialog: dict[str, Any] | None = None,
        attrs: dict[str, str] | None = None,
    ) -> Callable[[Callable[..., Any]], Any]: ...
else:
    from unfold.decorators import action
    from unfold.forms import BaseDialogForm

__all__ = ["ActionVariant", "action"]

# htmx waits 20 ms, by itself, between showing a dialog and taking charge of its form. The browser would send a form that is
# submitted in that time to the page behind it, which refuses it, and the act would be lost.
IN_CHARGE_AT_ONCE = {"hx-swap": "innerHTML settle:0"}

# The answer takes the place of the dialog. Without them it would take that of the fields alone.
WHOLE_DIALOG = {"HX-Retarget": "#dialog", "HX-Reselect": "#dialog", "HX-Reswap": "outerHTML settle:0"}


class DialogForm(BaseDialogForm):
    """A dialog's form. `reason_field`: the field that has the reason of the act."""

    reason_field: ClassVar[str] = "reason"
    # Puts the act on record, for an action that `asks_outside` and has a transaction of its own.
    record: Callable[..., Act]

    @property
    def given_reason(self) -> str:
        return str(self.cleaned_data.get(self.reason_field) or "")


class ReasonForm(DialogForm):
    """Asks why, and is not sent without an answer."""

    reason = forms.CharField(
        max_length=500, widget=UnfoldAdminTextInputWidget, help_text="Why, for readers of the log of acts."
    )


class OptionalReasonForm(DialogForm):
    """Asks why, and is sent without an answer too."""

    reason = forms.CharField(
        max_length=500,
        required=False,
        widget=UnfoldAdminTextInputWidget,
        help_text="Why, for readers of the log of acts. It may be empty.",
    )


@dataclass(frozen=True, kw_only=True)
class Done:
    """The result of an action: a sentence for the log of acts and one for the operator. `record` is empty if the action has put
    itself on record. `page_of`: the row to show, if another. `secret`: shown in the dialog, once, in place of the page.
    """

    record: str
    message: str
    warning: bool = False
    page_of: Model | None = None
    secret: str = ""


class NotDone(Exception):
    """An action that changed nothing. The message tells the operator why."""

    def __init__(self, message: str, *, level: int = messages.ERROR) -> None:
        super().__init__(message)
        self.level = level


def dialog(
    label: str,
    *,
    permission: str,
    icon: str,
    title: str,
    text: str,
    button: str,
    form_class: type[DialogForm] | None = None,
    needs_reason: bool = False,
    asks_outside: bool = False,
    variant: ActionVariant = ActionVariant.DEFAULT,
    offered: Callable[[Any], bool] = lambda row: True,
) -> Callable[[Callable[[Any, Any, Any], Done]], Any]:
    """Makes an action of a method of a `Page`, which takes the row and the valid form. The method's name is the kind of the act.

    `needs_reason`: the act costs, or cannot be undone. `form_class` has a field of its own for the reason. `asks_outside`: the
    act asks a provider, the storage or Redis, so no transaction is open meanwhile. `offered`: whether a row allows it.
    """
    form_class = form_class or (ReasonForm if needs_reason else OptionalReasonForm)
    asked = {"title": title, "description": text, "form_class": form_class, "form_submit_text": button}

    def allows(request: HttpRequest, row: Any) -> bool:
        return row is not None and request.user.has_perm(permission) and offered(row)

    def decorate(act: Callable[[Any, Any, Any], Done]) -> Any:
        acts.kinds.add(act.__name__)

        @action(description=label, icon=icon, variant=variant, dialog=asked, attrs=IN_CHARGE_AT_ONCE)
        @wraps(act)
        def submitted(page: Any, request: HttpRequest, form: DialogForm, object_id: str) -> HttpResponse:
            row = page.row(request, object_id)
            form.record = partial(acts.record, acts.by_request(request), act.__name__, row, reason=form.given_reason)
            return _done(request, form, row, partial(act, page, row, form), asks_outside=asks_outside)

        def guarded(page: Any, request: HttpRequest, object_id: str) -> HttpResponse:
            if not allows(request, page.get_object(request, unquote(object_id))):
                raise PermissionDenied
            response: HttpResponse = submitted(page, request, object_id=object_id)
            return response

        method: Any = wraps(submitted)(guarded)
        method.allows = allows
        return method

    return decorate


def _done(
    request: HttpRequest, form: DialogForm, row: Model, act: Callable[[], Done], *, asks_outside: bool
) -> HttpResponse:
    """Does the act, puts it on record, and shows what was done, or why nothing was."""
    try:
        with nullcontext() if asks_outside else transaction.atomic():
            done = act()
            if done.record:
                form.record(detail=done.record)
    except NotDone as error:
        return _shown(request, row, str(error), error.level)
    if done.secret:
        return _secret_shown(request, row, done)
    return _shown(request, done.page_of or row, done.message, messages.WARNING if done.warning else messages.SUCCESS)


def _shown(request: HttpRequest, row: Model, message: str, level: int) -> HttpResponse:
    """Ends a dialog: loads the page behind it anew, with a message. A dialog can also be open in a tab of its own, without htmx:
    there, the browser obeys `Refresh`.
    """
    messages.add_message(request, level, message)
    page = page_of(row)
    return HttpResponse(headers={"HX-Redirect": page, "Refresh": f"0; url={page}"})


def _secret_shown(request: HttpRequest, row: Model, done: Done) -> HttpResponse:
    """Puts a secret in the place of the dialog. Not in a message: a cookie keeps messages until they are read."""
    context = {"message": done.message, "secret": done.secret, "page": page_of(row)}
    answer = render(request, "admin/accounts/secret.html", context)
    for name, value in WHOLE_DIALOG.items():
        answer.headers[name] = value
    return answer
