"""Second factors of operators: who needs one, setting one up, checking a code, and the reset of a lost one.

Setting OPERATORS_SECOND_FACTOR decides who needs one: everybody (`required`), who has set one up (`optional`), or nobody (`off`).
A stolen database gives no codes: the app's secret is sealed, and of the paper's codes there are digests.
"""

from __future__ import annotations

import base64
import secrets
from math import ceil
from typing import Any
from urllib.parse import quote, urlencode

import segno
from django.conf import settings
from django.contrib.auth import update_session_auth_hash
from django.db import transaction
from django.http import HttpRequest
from django.utils import timezone
from django_otp import login

from accounts import resealing
from accounts.models import SecondFactor, User
from accounts.models.second_factors import digest
from accounts.resealing import Resealed

HAS_APP = "has_app"
REQUIRED, OPTIONAL, OFF = "required", "optional", "off"
SECRET_BYTES = 20
BACKUP_CODES = 10
# Signs of a code on paper, of 31 that are not taken for each other: 49 bits.
BACKUP_CODE_SIGNS = 10
SIGNS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"


def note_app(request: HttpRequest, user: Any) -> None:
    """Notes in a new session whether the operator has an app. A session in which that changes ends, but the one of the change."""
    request.session[HAS_APP] = of(user) is not None


def is_owed(request: HttpRequest) -> bool:
    """Returns whether the session's operator, who has given the password, must give a code too, or set up an app first."""
    if settings.OPERATORS_SECOND_FACTOR == OFF or is_verified(request):
        return False
    return settings.OPERATORS_SECOND_FACTOR == REQUIRED or bool(request.session.get(HAS_APP, True))


def of(user: Any) -> SecondFactor | None:
    return SecondFactor.objects.filter(user_id=user.pk).first()


def new_secret() -> str:
    """Returns a secret in the form in which apps take it."""
    return base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode()


def address_of(user: Any, secret: str) -> str:
    """Returns the address that an app reads from the QR code."""
    label = quote(f"Sightline:{user.get_username()}")
    return f"otpauth://totp/{label}?{urlencode({'secret': secret, 'issuer': 'Sightline'})}"


def qr_code(address: str) -> str:
    """Returns an address as a picture, as the address of an image."""
    return segno.make(address, error="m").svg_data_uri(scale=5, border=2, light="white")


def set_up(request: HttpRequest, secret: str, code: str) -> list[str]:
    """Stores an operator's new app, in the place of an earlier one, and ends the operator's other sessions. Returns the codes for
    the paper, or none if the code is not the app's.
    """
    user = User.objects.get(username=request.user.get_username())
    device = SecondFactor(user=user, name="app")
    device.seal(secret)
    if not device.take_code(code):
        return []
    codes = new_backup_codes(device)
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=user.pk)
        SecondFactor.objects.filter(user=user).delete()
        device.save()
        user.end_sessions()
    update_session_auth_hash(request, user)
    login(request, device)
    return codes


def new_backup_codes(device: SecondFactor) -> list[str]:
    """Gives a device new codes for the paper, and returns them. The caller saves the device."""
    codes = ["".join(secrets.choice(SIGNS) for _ in range(BACKUP_CODE_SIGNS)) for _ in range(BACKUP_CODES)]
    device.backup_digests = [digest(code) for code in codes]
    return [f"{code[:5]}-{code[5:]}" for code in codes]


def check(request: HttpRequest, code: str) -> SecondFactor | None:
    """Checks an operator's code, and notes in the session that it was right. Returns the device if it refuses the code."""
    with transaction.atomic():
        device: SecondFactor = SecondFactor.objects.select_for_update().get(user_id=request.user.pk)
        if not device.verify_token(code):
            return device
    request.session.cycle_key()
    login(request, device)
    return None


def is_verified(request: HttpRequest) -> bool:
    """Returns whether the session's operator has given a code of the present app."""
    user: Any = request.user  # django-otp's middleware adds the method
    return bool(user.is_verified())


def wait_of(device: Any) -> int:
    """Returns the seconds for which no code of the device is read."""
    allowed, waiting = device.verify_is_allowed()
    return 0 if allowed else max(1, ceil((waiting["locked_until"] - timezone.now()).total_seconds()))


def remove(request: HttpRequest) -> None:
    """Forgets the operator's own app, and ends the operator's other sessions."""
    user = User.objects.get(username=request.user.get_username())
    forget(user)
    update_session_auth_hash(request, user)
    request.session[HAS_APP] = False


def forget(user: User) -> None:
    """Forgets an operator's app, and ends all of the operator's sessions."""
    SecondFactor.objects.filter(user=user).delete()
    user.end_sessions()


def reseal() -> Resealed[SecondFactor]:
    """Moves every app's secret to the first of our keys."""
    return resealing.reseal(SecondFactor.objects.all(), ("sealed",), lambda device: device.owner)
