"""The base of the views that take a picture, as a file of a form or in JSON.

The picture is checked even if other parts of the request are wrong, so that one answer names everything that is wrong.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

from rest_framework.exceptions import ValidationError

from accounts.net.failures import OutboundFailure
from accounts.web.exceptions import PayloadTooLarge, ServiceUnavailable
from accounts.web.strict_fields import Wrong, merged
from accounts.web.tenant_view import TenantView
from providers.contract import PictureLimits
from searches import pictures
from searches.api.exceptions import field_error, translate_picture_errors
from searches.api.parsers import Form, PictureForm, StrictJSON
from searches.api.picture_fields import GivenPicture
from searches.models import Image

UNUSABLE = (pictures.BadPicture, pictures.Busy, OutboundFailure, ValidationError)


@dataclass(frozen=True)
class NoPicture:
    """Takes the place of a picture that was not given, or that could not be opened for the `reason`."""

    reason: Exception | None = None

    def wait(self) -> None:
        if self.reason is not None:
            raise self.reason


class PictureView(TenantView):
    parser_classes = (StrictJSON, PictureForm)
    takes_pictures = True

    @contextmanager
    def picture(
        self, given: GivenPicture | None, *, fit: dict[str, PictureLimits] | None = None, crop: str = ""
    ) -> Iterator[Any]:
        """Yields the picture, for the caller to wait for and to save. `wait` raises what is wrong with it."""
        with ExitStack() as stack:
            try:
                picture = stack.enter_context(self._opened(given, fit or {}, crop))
            except UNUSABLE as error:
                picture = NoPicture(error)
            yield picture

    def _opened(
        self, given: GivenPicture | None, fit: dict[str, PictureLimits], crop: str
    ) -> AbstractContextManager[Any]:
        if given is None:
            return nullcontext(NoPicture())
        if given.id is None:
            content = given.content or b"" if given.url is None else pictures.fetched(self.tenant, given.url)
            return self.opened_content(content, fit, crop)
        image = Image.objects.for_tenant(self.tenant).filter(pk=given.id).first()
        if image is None:
            detail = "No picture of yours has this id; send the picture itself."
            raise ValidationError({"image": {"id": field_error(detail, "does_not_exist")}})
        return self.opened_image(image, fit, crop)

    def opened_content(self, content: bytes, fit: dict[str, PictureLimits], crop: str) -> AbstractContextManager[Any]:
        """Opens a picture that was sent. A view that stores nothing overrides both ways to open one."""
        return pictures.received(self.tenant, content, fit=fit, crop=crop)

    def opened_image(self, image: Image, fit: dict[str, PictureLimits], crop: str) -> AbstractContextManager[Any]:
        return pictures.known(image, fit=fit, crop=crop)

    def invalid_with(self, picture: Any, wrong: Wrong) -> ValidationError:
        """Returns the exception that names these errors and those of the picture.

        Raises what is no fault of the request, such as a busy server, if nothing else is wrong.
        """
        try:
            with translate_picture_errors():
                picture.wait()
        except ValidationError as error:
            wrong = merged(wrong, error.detail)
        except (PayloadTooLarge, ServiceUnavailable, pictures.Deleted) as error:
            if not self.is_wrong(wrong):
                raise
            if isinstance(error, PayloadTooLarge):
                wrong = merged(wrong, {"image": field_error(str(error.detail), "too_large")})
        return self.invalid(wrong)

    def is_wrong(self, wrong: Wrong) -> bool:
        """Returns whether anything is wrong: these errors of the body, or the form's parts, the query or the headers."""
        return bool(wrong or self.wrong or getattr(self.request.data, "wrong", None))

    def invalid(self, wrong: Wrong) -> ValidationError:
        data = self.request.data
        return super().invalid(data.with_parts(wrong) if isinstance(data, Form) else wrong)


def not_fetched(given: GivenPicture | None) -> GivenPicture | None:
    """Returns the picture, or None for one given by its URL: nothing is fetched for a request that is wrong anyway."""
    return None if given is None or given.url is not None else given
