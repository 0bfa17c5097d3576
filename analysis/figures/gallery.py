"""Galleries: images of a report other than charts, embedded in the page as PNG.

To keep the page small, all galleries share a budget of MAXIMUM_CHARACTERS.
"""

import io
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from warnings import catch_warnings

from core.pictures import open_picture

if TYPE_CHECKING:
    from PIL import Image


MOST_BYTES, MOST_PIXELS = 2**25, 2**25  # of a picture that a trial left
MAXIMUM_CHARACTERS = 3_000_000  # of the data: URIs of one page


@dataclass(frozen=True)
class GalleryImage:
    """An image of a gallery: the PNG file's bytes, the label below it, the alternative text."""

    png: bytes
    label: str
    alt: str

    @property
    def uri(self) -> str:
        return f"data:image/png;base64,{b64encode(self.png).decode()}"

    @property
    def characters(self) -> int:
        """About the length of `uri`."""
        return 4 * -(-len(self.png) // 3)


@dataclass(frozen=True)
class Gallery:
    """Images side by side. `name`: anchor on the page; `section`: heading above it; `caption`: how to read it or, if
    there are no images, why."""

    name: str
    section: str
    title: str
    caption: str
    images: tuple[GalleryImage, ...]


def within_budget(galleries: Sequence[Gallery], characters: int = MAXIMUM_CHARACTERS) -> list[Gallery]:
    """The galleries, each cut to its first images that fit its share of `characters`.

    What a small gallery does not use goes to the larger ones. A caption tells the number of images left out.
    """
    size = [sum(image.characters for image in gallery.images) for gallery in galleries]
    kept, left = list(galleries), characters
    for turn, place in enumerate(sorted(range(len(size)), key=size.__getitem__)):
        kept[place], used = _cut(galleries[place], left // (len(size) - turn))
        left -= used
    return kept


def _cut(gallery: Gallery, characters: int) -> tuple[Gallery, int]:
    used, shown = 0, []
    for image in gallery.images:
        if used + image.characters > characters:
            break
        used += image.characters
        shown.append(image)
    left = len(gallery.images) - len(shown)
    if not left:
        return gallery, used
    caption = f"{gallery.caption} {left} of {len(gallery.images)} pictures are left out, to keep this page small."
    return replace(gallery, caption=caption, images=tuple(shown)), used


def read_image(file: Path | None, mode: Callable[[str], str]) -> "Image.Image | None":
    """The image of a file, converted to `mode(its own mode)`; None if it is missing, unreadable or larger than any that
    a trial leaves."""
    try:
        if file is None or file.stat().st_size > MOST_BYTES:
            return None
        with catch_warnings(action="ignore"), open_picture(file) as opened:  # pillow warns of what is returned as None
            return opened.convert(mode(opened.mode)) if opened.width * opened.height <= MOST_PIXELS else None
    except Exception:  # of pillow's readers, each has errors of its own
        return None


def png_bytes(image: "Image.Image") -> bytes:
    """The image as a PNG file, the same bytes for the same pixels."""
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()
