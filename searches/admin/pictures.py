"""The admin pages of pictures. A thumbnail comes from a view that checks the permission to see pictures."""

from __future__ import annotations

from uuid import UUID

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from django.utils.safestring import SafeString

from accounts.web.admin_base import Record, RecordInline
from accounts.web.admin_columns import link, list_of, page_of
from accounts.web.admin_filters import ByTenant, MadeWithin
from providers.admin import ByProvider
from searches import pictures
from searches.models import Image, Rendering, Search

THUMBNAIL = (480, 480)


def thumbnail(image: Image) -> SafeString:
    address = reverse("admin:searches_image_picture", args=[image.pk])
    return format_html(
        '<a href="{}"><img src="{}" alt="The picture" class="rounded-default" style="max-height: 15rem"></a>',
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
    list_display = ("created_at", "tenant", "format", "size", "bytes", "sha256")
    list_select_related = ("tenant",)
    list_filter = (ByTenant, MadeWithin)
    search_fields = ("sha256__exact",)
    search_help_text = "An id, or the SHA-256 of the file as it was sent"
    fields = ("picture", "tenant", "format", "size", "bytes", "sha256", "pixels_sha256", "created_at", "searches")
    inlines = (RenderingInline,)

    def get_urls(self) -> list[URLPattern]:
        show = self.admin_site.admin_view(self.show)
        return [path("<uuid:image_id>/picture/", show, name="searches_image_picture"), *super().get_urls()]

    def show(self, request: HttpRequest, image_id: UUID) -> HttpResponse:
        """Answers a thumbnail. It is encoded anew, so that its content type is sure whatever the tenant sent."""
        image = get_object_or_404(Image, pk=image_id)
        if not self.has_view_permission(request, image):
            raise PermissionDenied
        try:
            small = pictures.thumbnail(image, THUMBNAIL)
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

    @admin.display(description="searches")
    def searches(self, obj: Image) -> SafeString:
        return link(list_of(Search, image__id__exact=obj.pk), "with this picture")


@admin.register(Rendering)
class RenderingAdmin(Record):
    icon = "photo_size_select_large"
    list_display = ("image", "tenant", "provider", "crop", "media_type", "bytes")
    list_select_related = ("image__tenant",)
    list_filter = (ByProvider,)
    search_fields = ("file__exact",)
    search_help_text = "The id of a picture"
    id_fields = ("image",)
    fields = list_display

    @admin.display(description="tenant", ordering="image__tenant__name")
    def tenant(self, obj: Rendering) -> str:
        return obj.image.tenant.name
