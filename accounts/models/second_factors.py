"""The table of operators' second factors: an app that makes codes (TOTP, RFC 6238), and codes on paper for when it is lost."""

from __future__ import annotations

import base64
import hmac
import re
from typing import Any

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now
from django.utils.crypto import salted_hmac
from django_otp.models import Device, ThrottlingMixin
from django_otp.oath import TOTP

from accounts import vault

# Codes of the half minutes before and after are taken too, for clocks that are not quite right and for slow hands.
TOLERANCE = 1
SIX_DIGITS = re.compile(r"[0-9]{6}")


class SecondFactor(ThrottlingMixin, Device):
    """An operator's app, with its sealed secret. `last_step`: the half minute whose code was taken last; none up to it is taken
    again. `backup_digests`: the unused codes on paper.

    After each wrong code none is read for a while: 1, 2, 4, 8… seconds.
    """

    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="second_factor")
    sealed = models.BinaryField()
    last_step = models.BigIntegerField(default=-1)
    backup_digests = ArrayField(models.CharField(max_length=64), default=list)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    def get_throttle_factor(self) -> int:
        return 1

    def verify_token(self, token: str) -> bool:
        """Takes a code of the app or of the paper, each at most once. The row must be locked."""
        throttle: Any = self  # django-otp has no types
        allowed, _ = throttle.verify_is_allowed()
        if not allowed:
            return False
        taken = self.take_code(token) or self.take_backup_code(token)
        if taken:
            throttle.throttle_reset(commit=False)
        else:
            throttle.throttle_increment(commit=False)
        self.save()
        return taken

    def take_code(self, code: str) -> bool:
        """Returns whether the app shows this code now, and none since was taken."""
        digits = re.sub(r"\s", "", code)
        if not SIX_DIGITS.fullmatch(digits):
            return False
        generator = TOTP(base64.b32decode(self.opened()))
        if not generator.verify(int(digits), tolerance=TOLERANCE, min_t=self.last_step + 1):
            return False
        self.last_step = generator.t()
        return True

    def take_backup_code(self, code: str) -> bool:
        """Returns whether this is an unused code of the paper, and strikes it off."""
        given = digest(code)
        left = [known for known in self.backup_digests if not hmac.compare_digest(known, given)]
        taken = len(left) < len(self.backup_digests)
        self.backup_digests = left
        return taken

    def seal(self, secret: str) -> None:
        self.sealed = vault.seal(secret, associated=self.owner)

    def opened(self) -> str:
        return vault.open(bytes(self.sealed), associated=self.owner)

    @property
    def owner(self) -> str:
        """The owner that the secret is sealed for."""
        return f"operator:{self.user_id}:second factor"


def digest(code: str) -> str:
    """Returns the digest of a code on paper, keyed by SECRET_KEY."""
    plain = re.sub(r"[\s-]", "", code).upper()
    return salted_hmac("accounts.second_factors", plain, algorithm="sha256").hexdigest()
