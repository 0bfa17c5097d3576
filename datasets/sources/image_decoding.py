"""Decodes image files to uint8 arrays, for the data sets and for predictions on new images alike.

Imports pillow: import this module where images are decoded, not where settings are described.
"""

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from datasets.base import DataError, Record

MAX_PIXELS = 50_000_000
_ORIENTATION = 0x0112  # of EXIF; from 5 on the image lies on its side


def image_record(file: Path, channels: int, size: int) -> Record:
    """The image as (channels, size, size), turned upright by its EXIF orientation, transparency dropped.

    Resized to the square without keeping the aspect ratio, bilinear and antialiased (pillow's BILINEAR). Raises
    DataError naming the file when it cannot be decoded whole or has more than 50 megapixels (told from its header).
    """
    with opened(file) as image:
        return Record(_resized(image, channels, size), side=min(image.size))


def decode_photo(file: Path, channels: int) -> npt.NDArray[np.uint8]:
    """The whole image, (height, width) grey or (height, width, 3), upright; errors as in `image_record`."""
    with opened(file) as image:
        return np.asarray(_converted(ImageOps.exif_transpose(image), channels))


def photo_size(file: Path) -> tuple[int, int]:
    """(width, height) of the upright image, from the header alone; errors as in `image_record`."""
    with opened(file, whole=False) as image:
        width, height = image.size
        return (height, width) if image.getexif().get(_ORIENTATION, 1) >= 5 else (width, height)


def cut(
    photo: npt.NDArray[np.uint8], box: tuple[float, float, float, float], width: int, height: int
) -> npt.NDArray[np.uint8]:
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
    try:
        with Image.open(io.BytesIO(file.read_bytes()) if whole else file) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(file, f"{image.width} × {image.height} pixels")
            yield image
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(file, "picture") from error
    except DataError:
        raise
    except Exception as error:  # pillow's decoders raise nearly anything on a damaged file
        raise DataError(f"{file}: cannot be decoded as a picture ({_reason(error, file)})") from error


def _resized(image: Image.Image, channels: int, size: int) -> npt.NDArray[np.uint8]:
    upright = _converted(ImageOps.exif_transpose(image), channels)
    pixels = np.asarray(upright.resize((size, size), Image.Resampling.BILINEAR))
    return np.ascontiguousarray(pixels.reshape(size, size, channels).transpose(2, 0, 1))


def _converted(image: Image.Image, channels: int) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel: pillow's own conversion cuts off at 255 instead of scaling
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if "transparency" in image.info:  # pillow warns when a palette loses it on the way to RGB
        image = image.convert("RGBA")
    return image.convert("L" if channels == 1 else "RGB")


def _too_large(file: Path, what: str) -> DataError:
    return DataError(
        f"{file}: {what} of more than {MAX_PIXELS // 1_000_000} megapixels is not decoded; make it smaller"
    )


def _reason(error: Exception, file: Path) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "no picture format in it" if file.stat().st_size else "the file is empty"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
