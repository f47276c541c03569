"""The pages of an operator's own second factor: to give a code, to set up an app, and to see and renew what there is."""

from __future__ import annotations

import base64
from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from unfold.widgets import UnfoldAdminTextInputWidget

from accounts import second_factors, vault
from accounts.models import SecondFactor, User

NEXT, PENDING = "next", "second_factor_pending"
MOST_CHARACTERS = 40
WRONG = "This is not the code that the app shows now, or it was used before; wait for the next one, and type its six digits."
WAIT = "After a wrong code none is read for a while; try again in {seconds} s."


class CodeForm(forms.Form):
    code = forms.CharField(
        max_length=MOST_CHARACTERS,
        widget=UnfoldAdminTextInputWidget(
            attrs={"autocomplete": "one-time-code", "autofocus": True, "spellcheck": "false"}
        ),
    )


def page(request: HttpRequest) -> HttpResponse:
    """Asks for a code; who has given one sees what is set up."""
    device = second_factors.of(request.user)
    if device is None:
        return HttpResponseRedirect(reverse("second_factor_set_up"))
    return mine(request, device) if second_factors.is_verified(request) else ask(request)


def ask(request: HttpRequest) -> HttpResponse:
    form = CodeForm(request.POST or None)
    if not form.is_valid():
        return shown(request, "ask", "Second factor", form=form)
    refused = second_factors.check(request, form.cleaned_data["code"])
    if refused is None:
        return HttpResponseRedirect(way_on(request))
    seconds = second_factors.wait_of(refused)
    form.add_error("code", f"{WRONG} {WAIT.format(seconds=seconds)}")
    return shown(request, "ask", "Second factor", form=form, status=429, headers={"Retry-After": str(seconds)})


def mine(request: HttpRequest, device: SecondFactor) -> HttpResponse:
    """Shows the operator's app, and does what the page's buttons ask."""
    if request.method != "POST":
        is_required = settings.OPERATORS_SECOND_FACTOR == second_factors.REQUIRED
        return shown(request, "mine", "Second factor", device=device, may_remove=not is_required)
    if "codes" in request.POST:
        codes = second_factors.new_backup_codes(device)
        device.save(update_fields=["backup_digests"])
        return shown(request, "codes", "Codes for when the app is lost", codes=codes)
    if "remove" in request.POST and settings.OPERATORS_SECOND_FACTOR != second_factors.REQUIRED:
        second_factors.remove(request)
        messages.success(request, "The second factor is removed; the password alone opens your account.")
    return HttpResponseRedirect(reverse("admin:index"))


def set_up(request: HttpRequest) -> HttpResponse:
    """Shows an app's new secret, and stores it when the app's code shows that the app has it."""
    if second_factors.of(request.user) is not None and not second_factors.is_verified(request):
        return HttpResponseRedirect(reverse("second_factor"))
    form = CodeForm(request.POST if request.method == "POST" else None)
    secret = pending(request) if request.method == "POST" else None
    if secret and form.is_valid():
        if codes := second_factors.set_up(request, secret, form.cleaned_data["code"]):
            del request.session[PENDING]
            return shown(request, "codes", "Codes for when the app is lost", codes=codes)
        form.add_error("code", WRONG)
    secret = secret or begun(request)
    address = second_factors.address_of(request.user, secret)
    more: dict[str, Any] = {"secret": " ".join(secret[at : at + 4] for at in range(0, len(secret), 4))}
    return shown(
        request, "set_up", "Set up a second factor", form=form, picture=second_factors.qr_code(address), **more
    )


def begun(request: HttpRequest) -> str:
    """Returns a new secret, which the session keeps sealed until its app has shown a code."""
    secret = second_factors.new_secret()
    sealed = vault.seal(secret, associated=owner(request))
    request.session[PENDING] = base64.b64encode(sealed).decode()
    return secret


def pending(request: HttpRequest) -> str | None:
    try:
        return vault.open(base64.b64decode(request.session.get(PENDING, "")), associated=owner(request))
    except vault.Unopenable:
        return None


def owner(request: HttpRequest) -> str:
    return f"operator:{request.user.pk}:second factor being set up"


def log_out_everywhere(request: HttpRequest) -> HttpResponse:
    """Asks, and then ends all sessions of the operator, this one too."""
    if request.method != "POST":
        return shown(request, "log_out", "Log out everywhere")
    User.objects.get(username=request.user.get_username()).end_sessions()
    return HttpResponseRedirect(reverse("admin:login"))


def way_on(request: HttpRequest) -> str:
    """Returns the page that was asked for before the code, if it is one of ours."""
    wanted = request.GET.get(NEXT, "")
    is_ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if is_ours and wanted.startswith("/admin/") else reverse("admin:index")


def shown(request: HttpRequest, name: str, title: str, *, status: int = 200, **more: Any) -> HttpResponse:
    headers = more.pop("headers", None)
    context = {**admin.site.each_context(request), "title": title, **more}
    template = f"admin/accounts/second_factor/{name}.html"
    return TemplateResponse(request, template, context, status=status, headers=headers)
