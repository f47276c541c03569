"""The pages of operators and their groups. Only superusers grant rights and set other operators' passwords.

A permission such as `change_user` lets staff edit names, addresses and the `active` mark of operators who are no superusers. More
would let them act with rights that nobody gave them: by a flag, a group, a permission, or another's password.
"""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from accounts import roles, second_factors
from accounts.models import User
from accounts.web.admin_base import Page
from accounts.web.admin_dialogs import ActionVariant, Done, dialog

# The fields of an operator that grant rights.
RIGHTS = ("is_staff", "is_superuser", "groups", "user_permissions")
# A permission that nobody can be given, so that superusers alone pass.
SUPERUSERS = "accounts.superuser"

admin.site.unregister(Group)


def is_superuser(request: HttpRequest) -> bool:
    return request.user.is_active and request.user.is_superuser


@admin.register(User)
class UserAdmin(DjangoUserAdmin, Page):
    icon = "badge"
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    secret_fields = ("password",)
    date_hierarchy = "date_joined"

    actions_detail = ("reset_second_factor", "end_sessions")

    @dialog(
        "Reset second factor",
        permission=SUPERUSERS,
        icon="phonelink_erase",
        title="Reset this operator's second factor?",
        text="The app and its codes open nothing more, and all sessions end. Be sure who asks: who has the password can then "
        "set up an app of their own.",
        button="Reset",
        needs_reason=True,
        variant=ActionVariant.DANGER,
        offered=lambda user: second_factors.of(user) is not None,
    )
    def reset_second_factor(self, user: User, form: Any) -> Done:
        second_factors.forget(user)
        return Done(
            record="Reset the second factor.", message="The second factor is reset, and all sessions are ended."
        )

    @dialog(
        "End sessions",
        permission=SUPERUSERS,
        icon="logout",
        title="End all sessions of this operator?",
        text="Every browser in which the operator is signed in asks for the password again.",
        button="End sessions",
    )
    def end_sessions(self, user: User, form: Any) -> Done:
        user.end_sessions()
        return Done(record="Ended all sessions.", message="All sessions of this operator are ended.")

    def get_readonly_fields(self, request: HttpRequest, obj: User | None = None) -> tuple[str, ...]:
        fields = super().get_readonly_fields(request, obj)
        return tuple(fields) if is_superuser(request) else (*fields, *RIGHTS)

    def has_change_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_change_permission(request, obj) and may_touch(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        return super().has_delete_permission(request, obj) and may_touch(request, obj)

    def user_change_password(self, request: HttpRequest, id: str, form_url: str = "") -> HttpResponse:
        """Refuses all but superusers. Operators change their own password on a page that asks for the old one."""
        if not is_superuser(request):
            raise PermissionDenied
        return super().user_change_password(request, id, form_url)


def may_touch(request: HttpRequest, user: User | None) -> bool:
    return user is None or not user.is_superuser or is_superuser(request)


@admin.register(Group)
class GroupAdmin(DjangoGroupAdmin, Page):
    icon = "group"

    def has_add_permission(self, request: HttpRequest) -> bool:
        return super().has_add_permission(request) and is_superuser(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and is_superuser(request) and not is_ready(obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and is_superuser(request) and not is_ready(obj)


def is_ready(group: Group | None) -> bool:
    """Returns whether the group is one of those that `migrate` keeps as they are."""
    return group is not None and group.name in roles.READY
