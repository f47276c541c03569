"""The table of acts: what operators and commands did, and why. `accounts.acts` writes it; the database refuses every change."""

from __future__ import annotations

from django.conf import settings
from django.db import models
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from accounts.models.bulk_acts import BulkAct
from accounts.models.tenants import Tenant


class Act(models.Model):
    """An act of one operator, or of one command, on one object.

    The object is named by its type, its id and its label of that time, because it may be deleted. `name` is that of the operator
    or the command, for the same reason. `changes`: for each field of a form `[label, from, to]`, without values for a secret.
    `bulk_act`: the one that the act is a part of.
    """

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    operator = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="acts", db_index=False
    )
    name = models.CharField(max_length=150)
    address = models.CharField(max_length=45, blank=True, help_text="The address from which the request came.")
    kind = models.CharField(max_length=40)
    object_type = models.CharField(max_length=100)
    object_id = models.CharField(max_length=255)
    object_label = models.CharField(max_length=200)
    tenant = models.ForeignKey(Tenant, models.SET_NULL, null=True, blank=True, related_name="acts", db_index=False)
    reason = models.CharField(max_length=500, blank=True)
    detail = models.TextField(blank=True)
    changes = models.JSONField(default=list, blank=True)
    bulk_act = models.ForeignKey(BulkAct, models.PROTECT, null=True, blank=True, related_name="acts", db_index=False)

    class Meta:
        ordering = ("-id",)
        indexes = [
            models.Index(fields=["operator", "-id"], name="acts_of_an_operator"),
            models.Index(fields=["tenant", "-id"], name="acts_about_a_tenant"),
            models.Index(fields=["kind", "-id"], name="acts_of_a_kind"),
            models.Index(fields=["object_id", "-id"], name="acts_on_an_object"),
            models.Index(fields=["bulk_act", "-id"], name="acts_of_a_bulk_act"),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.object_label}"

    @property
    def kind_in_words(self) -> str:
        return self.kind.replace("_", " ")

    @property
    def summary(self) -> str:
        """Returns what was done, in a line."""
        return self.detail or "; ".join(self.changed_fields)

    @property
    def changed_fields(self) -> list[str]:
        return [f"{label} from {values[0]} to {values[1]}" if values else label for label, *values in self.changes]
