"""Galleries: the pictures of a report that no chart can draw, as PNG bytes that the page carries in itself.

A page stays small enough to be sent: all galleries together have MAXIMUM_CHARACTERS, shared out between them.
"""

import io
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image


MAXIMUM_CHARACTERS = 3_000_000  # of the data: URIs of one page


@dataclass(frozen=True)
class Picture:
    """A picture of a gallery: `png` is the file's bytes, `label` stands below it, `alt` says in words what it shows."""

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
    """Pictures side by side: `name` is its anchor on the page, `section` the heading that it stands under, `caption`
    how to read it. Without pictures the caption says why there are none."""

    name: str
    section: str
    title: str
    caption: str
    pictures: tuple[Picture, ...]


def within_budget(galleries: Sequence[Gallery], characters: int = MAXIMUM_CHARACTERS) -> list[Gallery]:
    """The galleries, each with as many of its first pictures as its share of `characters` holds.

    What a small gallery does not need goes to the larger ones. A caption says what is left out.
    """
    size = [sum(picture.characters for picture in gallery.pictures) for gallery in galleries]
    kept, left = list(galleries), characters
    for turn, place in enumerate(sorted(range(len(size)), key=size.__getitem__)):
        kept[place], used = _cut(galleries[place], left // (len(size) - turn))
        left -= used
    return kept


def _cut(gallery: Gallery, characters: int) -> tuple[Gallery, int]:
    used, shown = 0, []
    for picture in gallery.pictures:
        if used + picture.characters > characters:
            break
        used += picture.characters
        shown.append(picture)
    left = len(gallery.pictures) - len(shown)
    if not left:
        return gallery, used
    caption = f"{gallery.caption} {left} of {len(gallery.pictures)} pictures are left out, to keep this page small."
    return replace(gallery, caption=caption, pictures=tuple(shown)), used


def encoded(image: "Image.Image") -> bytes:
    """The image as a PNG file, the same bytes for the same pixels."""
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return file.getvalue()
