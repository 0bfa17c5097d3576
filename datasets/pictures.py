"""Picture files → uint8 arrays, the one way: the data sets decode with it, and whoever predicts on a new picture too.

Imports pillow: import this module where pictures are decoded, not where settings are described.
"""

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from datasets.base import DataError

MAX_PIXELS = 50_000_000


def decode_picture(file: Path, channels: int, size: int) -> npt.NDArray[np.uint8]:
    """The picture as (channels, size, size), turned upright by its EXIF orientation, transparency dropped.

    Resized to the square without keeping the aspect ratio, bilinear and antialiased (pillow's BILINEAR). Raises
    DataError naming the file when it cannot be decoded whole or has more than 50 megapixels (told from its header).
    """
    try:
        with Image.open(io.BytesIO(file.read_bytes())) as image:
            if image.width * image.height > MAX_PIXELS:
                raise _too_large(file, f"{image.width} × {image.height} pixels")
            upright = _converted(ImageOps.exif_transpose(image), "L" if channels == 1 else "RGB")
            pixels = np.asarray(upright.resize((size, size), Image.Resampling.BILINEAR))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large(file, "picture") from error
    except DataError:
        raise
    except Exception as error:  # pillow's decoders raise nearly anything on a damaged file
        raise DataError(f"{file}: cannot be decoded as a picture ({_reason(error, file)})") from error
    return np.ascontiguousarray(pixels.reshape(size, size, channels).transpose(2, 0, 1))


def _converted(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I"):  # 16 bits a pixel: pillow's own conversion cuts off at 255 instead of scaling
        image = Image.fromarray((np.asarray(image).astype(np.int64) >> 8).clip(0, 255).astype(np.uint8))
    if "transparency" in image.info:  # pillow warns when a palette loses it on the way to RGB
        image = image.convert("RGBA")
    return image.convert(mode)


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
