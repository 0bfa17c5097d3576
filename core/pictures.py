"""Opens files as pictures: by their content, in the formats that the program takes, and in no other that pillow knows.

Some of pillow's other readers start programs (Ghostscript for EPS) or are seldom read by anybody.
"""

from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from PIL import Image

FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF", "GIF")


def open_picture(file: Path | IO[bytes]) -> "Image.Image":
    """The picture, not yet decoded; pillow's UnidentifiedImageError where it has none of the FORMATS."""
    from PIL import Image

    return Image.open(file, formats=FORMATS)
