"""Compares what providers counted with the calls, over HTTP."""

from __future__ import annotations

from uuid import UUID

from django.shortcuts import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response

from accounts.models import Mode
from accounts.web import rate_limits
from accounts.web.exceptions import Conflict, ServiceUnavailable
from accounts.web.pagination import PageQuery
from accounts.web.strict_fields import Nothing
from billing.models import Reconciliation
from billing.reconciliation import CannotReconcile
from providers.api.views import CredentialView
from providers.failures import BadCredential, Exhausted, Failure
from searches.api import reconciliation_schema as schema
from searches.api.reconciliation_serializers import ReadingSerializer, ReconciliationSerializer
from searches.reconciliation import readings


@schema.RECONCILE
class Reconcile(CredentialView):
    error_codes = {"POST": ("nothing_to_compare", "credential_unusable", "provider_unavailable")}

    def post(self, request: Request, id: UUID) -> Response:
        credential = self.get_object()
        self.read(Nothing())
        if why_not := readings.cannot(credential):
            raise Conflict(why_not, code="nothing_to_compare")
        rate_limits.key_check(self.tenant)
        try:
            reading = readings.reconcile(credential)
        except CannotReconcile as error:
            raise Conflict(str(error), code="nothing_to_compare") from None
        except (BadCredential, Exhausted) as failure:
            raise Conflict(failure.detail, code="credential_unusable") from None
        except Failure as failure:
            raise ServiceUnavailable(failure.detail, code="provider_unavailable") from None
        return Response(ReadingSerializer(reading).data)


@schema.RECONCILIATIONS
class Reconciliations(CredentialView):
    query_class = PageQuery
    keys = ("-id",)

    def get(self, request: Request, id: UUID) -> Response:
        credential = get_object_or_404(self.get_queryset(), pk=id)
        rows = Reconciliation.objects.filter(credential=credential).select_related("credential", "opening", "closing")
        page = self.paginate_queryset(rows if self.api_key.mode == Mode.LIVE else rows.none()) or []
        return self.get_paginated_response(ReconciliationSerializer(page, many=True).data)
