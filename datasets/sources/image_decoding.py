"""Decodes image files to uint8 arrays, for the data sets and for predictions on new images alike.

Imports pillow: import this module where images are decoded, not where settings are described.
"""

import io
import math
import re
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from core.pictures import open_picture
from core.value_words import listed
from datasets.base import Box, DataError, Record, Resize

MAX_PIXELS = 50_000_000
SLIVER = 4
"""a picture longer than so many times its shorter side is cut to that before it is resized to be cropped"""
DARK = 64
"""of 256 levels: a picture of more than 8 bits a pixel that stays below is said to come out dark"""
SHOWN = 3  # files that a sentence names
_decoding = threading.local()  # `file`: what this thread decodes
_ORIENTATION = 0x0112  # of EXIF; from 5 on the image lies on its side


def image_record(file: Path, channels: int, size: int, resize: Resize = "stretch") -> Record:
    """The image as (channels, size, size), turned upright by its EXIF orientation, transparency dropped.

    Resized bilinearly and antialiased (pillow's BILINEAR): `stretch` to the square without keeping the aspect ratio;
    `crop` the shorter side to `size`, of which the central square is taken, to the bit as torchvision's Resize and
    CenterCrop do; `pad` the longer side to `size`, with black beside it. Raises DataError naming the file when it
    cannot be decoded whole or has more than 50 megapixels (told from its header).
    """
    with opened(file) as image:
        return Record(_resized(image, channels, size, resize), side=min(image.size))


class PictureWarning(UserWarning):
    """A picture that can be decoded may not be what its user takes it for."""


@contextmanager
def remarks() -> Iterator[dict[str, set[Path]]]:
    """What pillow and this module warn of while the block runs, in any thread: sentence → files.

    Outside of such a block warnings are shown as Python does, without the file that they are about.
    """
    found: dict[str, set[Path]] = {}

    def note(message: Warning | str, category: type[Warning], *where: object, **more: object) -> None:
        file = getattr(_decoding, "file", None)
        if file is not None and not issubclass(category, Image.DecompressionBombWarning):  # which a fault tells
            found.setdefault(" ".join(str(message).split()), set()).add(file)

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.showwarning = note
        yield found


def sentences(found: Mapping[str, set[Path]], root: Path | None = None) -> list[str]:
    """What `remarks` found, a sentence a kind with the names of its first files; sentences differ in kind where they
    differ in more than their numbers."""
    kinds: dict[str, tuple[str, set[Path]]] = {}
    for text in sorted(found):
        kinds.setdefault(re.sub(r"\d+", "#", text), (text, set()))[1].update(found[text])
    told = []
    for text, files in kinds.values():
        names = sorted(str(file.relative_to(root) if root and file.is_relative_to(root) else file) for file in files)
        told.append(f"{listed(names, SHOWN, 'more pictures')}: {text}")
    return told


def decode_photo(file: Path, channels: int) -> npt.NDArray[np.uint8]:
    """The whole image, (height, width) grey or (height, width, 3), upright; errors as in `image_record`."""
    with opened(file) as image:
        return np.asarray(_upright(image, channels))


def photo_size(file: Path) -> tuple[int, int]:
    """(width, height) of the upright image, from the header alone; errors as in `image_record`."""
    with opened(file, whole=False) as image:
        width, height = image.size
        return (height, width) if image.getexif().get(_ORIENTATION, 1) >= 5 else (width, height)


def cut(photo: npt.NDArray[np.uint8], box: Box, width: int, height: int) -> npt.NDArray[np.uint8]:
    """The part (left, top, right, bottom) of a photo, resized to (channels, height, width) as pillow's BILINEAR does.

    Coordinates are continuous, pixel i spans i to i + 1. What lies outside the photo repeats its edge; pixels around
    the box take part in the antialiasing, so a box cut alone or out of a larger cut comes out the same.
    """
    left, top, right, bottom = box
    across, x = _span(left, right, width, photo.shape[1])
    down, y = _span(top, bottom, height, photo.shape[0])
    part = Image.fromarray(photo[np.ix_(down, across)])
    pixels = np.asarray(part.resize((width, height), Image.Resampling.BILINEAR, box=(x[0], y[0], x[1], y[1])))
    return np.ascontiguousarray(pixels.reshape(height, width, -1).transpose(2, 0, 1))


def _span(low: float, high: float, n: int, size: int) -> tuple[npt.NDArray[np.intp], tuple[float, float]]:
    """The photo's columns (or rows) that `n` pixels between low and high need, and where the two lie among them."""
    reach = math.ceil(max(1.0, (high - low) / n)) + 1
    start, stop = math.floor(low) - reach, math.ceil(high) + reach
    return np.arange(start, stop).clip(0, size - 1), (low - start, high - start)


def resized_array(pixels: npt.NDArray[np.uint8], channels: int, size: int) -> npt.NDArray[np.uint8]:
    """A grey or RGB array (H, W[, 3]) as `image_record` would return it."""
    return _resized(Image.fromarray(pixels), channels, size)


@contextmanager
def opened(file: Path, whole: bool = True) -> Iterator[Image.Image]:
    """The image, not yet decoded; DataError naming the file if it is too large or anything fails in the block."""
    _decoding.file = file
    try:
        with open_picture(io.BytesIO(file.read_bytes()) if whole else file) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(file, f"{image.width} × {image.height} pixels")
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(file, "picture") from error
    except DataError:
        raise
    except Exception as error:  # pillow's decoders raise nearly anything on a damaged file
        raise DataError(f"{file}: cannot be decoded as a picture ({_reason(error, file)})") from error
    finally:
        _decoding.file = None


def _resized(image: Image.Image, channels: int, size: int, resize: Resize = "stretch") -> npt.NDArray[np.uint8]:
    image = _upright(image, channels)
    if resize == "stretch":
        square = image.resize((size, size), Image.Resampling.BILINEAR)
    else:
        square = (_cropped if resize == "crop" else _padded)(image, size)
    pixels = np.asarray(square)
    return np.ascontiguousarray(pixels.reshape(size, size, channels).transpose(2, 0, 1))


def _cropped(image: Image.Image, size: int) -> Image.Image:
    short = min(image.size)
    if max(image.size) > SLIVER * short:  # a strip resized whole could fill the memory
        image = _central(image, min(image.width, SLIVER * short), min(image.height, SLIVER * short))
    width, height = (int(size * side / short) for side in image.size)
    return _central(image.resize((width, height), Image.Resampling.BILINEAR), size, size)


def _central(image: Image.Image, width: int, height: int) -> Image.Image:
    left, top = round((image.width - width) / 2), round((image.height - height) / 2)
    return image.crop((left, top, left + width, top + height))


def _padded(image: Image.Image, size: int) -> Image.Image:
    width, height = (max(1, round(size * side / max(image.size))) for side in image.size)
    square = Image.new(image.mode, (size, size))
    square.paste(image.resize((width, height), Image.Resampling.BILINEAR), ((size - width) // 2, (size - height) // 2))
    return square


def _upright(image: Image.Image, channels: int) -> Image.Image:
    """The picture as L or RGB, with a warning where it is not all of the file, or hardly visible."""
    deep = image.mode[:1] in "IF" or ";16" in str(getattr(image, "tile", ""))  # gone once it is decoded
    upright = converted(ImageOps.exif_transpose(image), channels)
    if deep and np.asarray(upright).max() < DARK:
        warnings.warn(
            f"stored with more than 8 bits a pixel (16-bit, say) but comes out dark: none of its values reaches "
            f"{DARK} of 256, as with 10- and 12-bit values in 16 bits; spread them over all 16 bits",
            PictureWarning,
            stacklevel=2,
        )
    with suppress(Exception):  # of a later frame, which is not read
        if image.format in ("GIF", "WEBP", "PNG", "TIFF") and getattr(image, "is_animated", False):
            warnings.warn("holds several frames or pages, of which the first is read", PictureWarning, stacklevel=2)
    return upright


def converted(image: Image.Image, channels: int) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel: pillow's own conversion cuts off at 255 instead of scaling
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if "transparency" in image.info:  # pillow warns when a palette loses it on the way to RGB
        image = image.convert("RGBA")
    return image.convert("L" if channels == 1 else "RGB")


def _too_large(file: Path, what: str) -> DataError:
    most = MAX_PIXELS // 1_000_000
    return DataError(f"{file}: {what} of more than {most} megapixels is not decoded; make it smaller")


def _reason(error: Exception, file: Path) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "no picture format in it" if file.stat().st_size else "the file is empty"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
