"""The table of operators, who sign in to the admin."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, UserManager
from django.contrib.auth.password_validation import validate_password
from django.db import models


class Operators(UserManager["User"]):
    """Refuses weak passwords on every way to a new operator, `createsuperuser --noinput` too."""

    use_in_migrations = False

    def create_user(self, username: str, *args: Any, **kwargs: Any) -> User:
        _refuse_weak_password(username, *args, **kwargs)
        return super().create_user(username, *args, **kwargs)

    def create_superuser(self, username: str, *args: Any, **kwargs: Any) -> User:
        _refuse_weak_password(username, *args, **kwargs)
        return super().create_superuser(username, *args, **kwargs)


def _refuse_weak_password(username: str, email: str | None = None, password: str | None = None, **rest: object) -> None:
    if password is not None:
        validate_password(password, User(username=username, email=email or ""))


class User(AbstractUser):
    """An operator, who signs in to the admin. Tenants have API keys, not users. `sessions_ended`: how often all sessions were."""

    sessions_ended = models.PositiveIntegerField(default=0, editable=False)

    objects: ClassVar[Operators] = Operators()

    def end_sessions(self) -> None:
        """Ends every session of the operator, in whatever browser, with its next request."""
        User.objects.filter(pk=self.pk).update(sessions_ended=models.F("sessions_ended") + 1)
        self.refresh_from_db(fields=["sessions_ended"])

    def get_session_auth_hash(self) -> str:
        return self._ended_with(super().get_session_auth_hash())

    def get_session_auth_fallback_hash(self) -> Iterator[str]:
        return map(self._ended_with, super().get_session_auth_fallback_hash())

    def _ended_with(self, hash: str) -> str:
        """Returns a session's mark, which a new password changes, and the end of all sessions too."""
        return f"{hash}.{self.sessions_ended}"
