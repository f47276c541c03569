"""Chooses the picture to search with: the caller's own, or a post of the sandbox, altered as pictures on the web are."""

from __future__ import annotations

from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageEnhance

from config.launcher.errors import LaunchError
from providers.sandbox.catalogue import Catalogue
from searches import pictures

SHOWN = "mug"
# The picture's creator has more followers than this.
FOLLOWERS = 10_000


@dataclass(frozen=True, kw_only=True)
class SamplePicture:
    """Holds a picture: `title` describes it, `maker` is the creator to be found if known, `file` is the file of a drawn one."""

    content: bytes = field(repr=False)
    title: str
    maker: str = ""
    file: Path | None = None


def own(path: Path) -> SamplePicture:
    """Reads and checks the caller's picture as the API does, so that nothing is started for a file that is no picture."""
    try:
        sample = SamplePicture(content=path.expanduser().read_bytes(), title=str(path))
        pictures.check(sample.content)
    except OSError as error:
        raise LaunchError(f"IMAGE: {path} cannot be read ({error.strerror}).", code=2) from None
    except pictures.BadPicture as bad:
        raise LaunchError(f"IMAGE: {path}: {bad.detail}", code=2) from None
    return sample


def drawn(folder: Path) -> SamplePicture:
    """Draws and keeps a post of a creator in the sandbox."""
    catalogue = Catalogue()
    known = (each for each in catalogue.creators if each.followers > FOLLOWERS and each.posts[0].scene.motif == SHOWN)
    creator = next(known)
    picture = catalogue.picture(creator.posts[0].id)
    assert picture is not None
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    file = folder / "picture.jpg"
    file.write_bytes(_altered(picture))
    title = f"a post of @{creator.username}, cut, darkened and compressed ({file})"
    return SamplePicture(content=file.read_bytes(), title=title, maker=creator.username, file=file)


def _altered(picture: Image.Image) -> bytes:
    width, height = picture.size
    cut = picture.crop((width // 30, height // 30, width - width // 40, height - height // 40))
    file = BytesIO()
    ImageEnhance.Brightness(cut).enhance(0.9).save(file, "JPEG", quality=60)
    return file.getvalue()
