"""The admin pages of pictures. A thumbnail comes from a view that checks the permission to see pictures."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.web.admin_base import ID_ALONE, Record, RecordInline
from accounts.web.admin_columns import link, list_of, page_of, size_of_file
from accounts.web.admin_filters import ByTenant, MadeWithin
from providers.admin import ByProvider
from searches import pictures
from searches.models import Image, Rendering, Search

THUMBNAIL = (480, 480)


def small_picture(image_id: UUID) -> SafeString:
    """Returns a small picture for a list. It is loaded when it is scrolled to, and no browser keeps it."""
    address = reverse("admin:searches_image_thumbnail", args=[image_id])
    return format_html(
        '<img src="{}" alt="" loading="lazy" width="48" height="48" class="search-thumbnail" data-may-fail>', address
    )


def thumbnail(image: Image) -> SafeString:
    address = reverse("admin:searches_image_picture", args=[image.pk])
    return format_html(
        '<a href="{}"><img src="{}" alt="The picture" class="max-w-xl rounded-default"></a>',
        page_of(image),
        address,
    )


class RenderingInline(RecordInline):
    model = Rendering
    fields = ("provider", "crop", "media_type", "bytes")
    ordering = ("provider", "crop")


@admin.register(Image)
class ImageAdmin(Record):
    icon = "image"
    list_display = ("created_at", "tenant", "format", "size", "sent_as", "sha256")
    list_select_related = ("tenant",)
    list_filter = (ByTenant, MadeWithin)
    search_fields = ("sha256__exact",)
    search_help_text = "An id, or the SHA-256 of the file as it was sent"
    fields = ("picture", "tenant", "format", "size", "sent_as", "sha256", "pixels_sha256", "created_at", "searches")
    inlines = (RenderingInline,)

    def get_urls(self) -> list[URLPattern]:
        """Adds the pictures' own addresses. Browsers are told to keep nothing, so that nothing outlives an erasure."""
        views = {"picture": self.show, "thumbnail": self.show_small}
        own = [
            path(f"<uuid:image_id>/{name}/", self.admin_site.admin_view(view), name=f"searches_image_{name}")
            for name, view in views.items()
        ]
        return [*own, *super().get_urls()]

    def show(self, request: HttpRequest, image_id: UUID) -> HttpResponse:
        """Answers the picture for its page. It is encoded anew, so that its content type is sure whatever the tenant sent."""
        return self._shown(request, image_id, lambda image: pictures.thumbnail(image, THUMBNAIL))

    def show_small(self, request: HttpRequest, image_id: UUID) -> HttpResponse:
        """Answers the picture for a list, which is made once."""
        return self._shown(request, image_id, pictures.stored_thumbnail)

    def _shown(self, request: HttpRequest, image_id: UUID, make: Callable[[Image], bytes]) -> HttpResponse:
        image = get_object_or_404(Image.objects.select_related("tenant"), pk=image_id)
        if not self.has_view_permission(request, image):
            raise PermissionDenied
        try:
            small = make(image)
        except FileNotFoundError:
            raise Http404("The picture is no longer stored.") from None
        except pictures.BadPicture:
            raise Http404("The stored file is damaged and shows no picture.") from None
        except pictures.Busy as error:
            return HttpResponse(error.detail, status=503, content_type="text/plain")
        return HttpResponse(small, content_type="image/webp", headers={"X-Content-Type-Options": "nosniff"})

    @admin.display(description="picture")
    def picture(self, obj: Image) -> SafeString:
        return thumbnail(obj)

    @admin.display(description="size", ordering="width")
    def size(self, obj: Image) -> str:
        return f"{obj.width} × {obj.height}"

    @admin.display(description="file", ordering="bytes")
    def sent_as(self, obj: Image) -> str:
        return size_of_file(obj.bytes)

    @admin.display(description="searches")
    def searches(self, obj: Image) -> SafeString:
        return link(list_of(Search, image__id__exact=obj.pk), "with this picture")


@admin.register(Rendering)
class RenderingAdmin(Record):
    icon = "photo_size_select_large"
    list_display = ("image", "tenant", "provider", "crop", "media_type", "bytes")
    list_select_related = ("image__tenant",)
    list_filter = (ByProvider,)
    search_fields = ID_ALONE
    search_help_text = "The id of a picture"
    id_fields = ("image",)
    fields = list_display

    @admin.display(description="tenant", ordering="image__tenant__name")
    def tenant(self, obj: Rendering) -> str:
        return obj.image.tenant.name
