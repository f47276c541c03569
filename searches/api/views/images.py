"""Stored pictures over HTTP. They belong to the tenant and have no mode, unlike searches."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import IntegrityError, transaction
from django.db.models import Exists, OuterRef, ProtectedError, QuerySet
from django.shortcuts import get_object_or_404
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

from accounts.models import IdempotencyKey, Scope
from accounts.web.entity_tags import Tagged
from accounts.web.exceptions import Conflict
from accounts.web.strict_fields import Wrong
from accounts.web.tenant_view import TenantView
from searches import pictures
from searches.api import schema
from searches.api.exceptions import translate_domain_errors
from searches.api.image_serializers import StoredImageSerializer, parsed_image, with_use
from searches.api.picture_fields import GivenPicture
from searches.api.query_serializers import ImageQuery
from searches.api.views.picture_view import PictureView, not_fetched
from searches.models import Image, Search

# The ORM lookup of each query parameter.
FILTERS = {"created_after": "created_at__gt", "created_before": "created_at__lt"}


class ImageView(TenantView):
    queryset = Image.objects.all()

    def get_queryset(self) -> QuerySet[Image]:
        return with_use(super().get_queryset())

    def serialized(self, images: Any, *, many: bool = False) -> Any:
        retention = self.tenant.retention("image_retention_days")
        return StoredImageSerializer(images, many=many, context={"retention": retention}).data


@schema.IMAGES
class Images(PictureView, ImageView):
    scopes = {"GET": Scope.SEARCHES_READ, "POST": Scope.SEARCHES_WRITE}
    query_class = ImageQuery
    keys = ("-id",)
    error_codes = {"POST": ("too_many_images",)}
    in_one_transaction = False
    _parsed: tuple[GivenPicture | None, Wrong] | None = None

    def get(self, request: Request) -> Response:
        page = self.paginate_queryset(self.filtered()) or []
        return self.get_paginated_response(self.serialized(page, many=True))

    def filtered(self) -> QuerySet[Image]:
        query = self.query
        found = self.get_queryset().filter(**{FILTERS[name]: query[name] for name in FILTERS if name in query})
        if "unused" in query:
            is_used = Exists(Search.objects.filter(image=OuterRef("pk")))
            found = found.filter(~is_used if query["unused"] == "true" else is_used)
        return found

    def post(self, request: Request) -> Response:
        (given, wrong), self._parsed = self._parsed or parsed_image(request.data), None
        is_wrong = self.is_wrong(wrong)
        with translate_domain_errors(), self.picture(not_fetched(given) if is_wrong else given) as picture:
            if is_wrong:
                raise self.invalid_with(picture, wrong)
            picture.wait()
            with transaction.atomic():
                image = picture.save()
                picture.hold()
                self.complete(201, image.pk)
            pictures.refresh(image)
        return self.created(image.pk)

    def created(self, id: UUID) -> Response:
        headers = {"Location": reverse("image", kwargs={"id": id})}
        stored = get_object_or_404(self.get_queryset(), pk=id)
        return Response(self.serialized(stored), status=201, headers=headers)

    def compared(self) -> Any:
        """Returns the picture by its bytes or its URL."""
        self._parsed = given, wrong = parsed_image(self.request.data)
        return None if given is None or self.is_wrong(wrong) else vars(given)

    def replayed(self, done: IdempotencyKey) -> Response:
        assert done.made is not None
        return self.created(done.made)


@schema.IMAGE_VIEW
class OneImage(Tagged, ImageView):
    scopes = {"GET": Scope.SEARCHES_READ, "DELETE": Scope.SEARCHES_WRITE}
    error_codes = {"DELETE": ("image_in_use",)}

    def get(self, request: Request, id: UUID) -> Response:
        return Response(self.serialized(self.get_object()))

    def delete(self, request: Request, id: UUID) -> Response:
        try:
            pictures.erase(self.get_object())
        except (ProtectedError, IntegrityError):
            detail = "A search names this picture, so it is kept as long as the search is."
            raise Conflict(detail, code="image_in_use") from None
        return Response(status=204)
