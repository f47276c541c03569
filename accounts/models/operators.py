"""The table of operators, who sign in to the admin."""

from __future__ import annotations

from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, UserManager
from django.contrib.auth.password_validation import validate_password


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
    """An operator, who signs in to the admin. Tenants have API keys, not users."""

    objects: ClassVar[Operators] = Operators()
