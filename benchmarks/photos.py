"""Generates folders of JPEG files to measure on: learnable, always the same, as slow to decode as real photos."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.float64]
LANDMARKS = 21
PHOTO = (640, 480)
GRAIN = 6  # standard deviation of the noise that makes files as large as those of photos


def gratings(
    root: Path, pictures: dict[str, int], size: int, classes: int = 6, side: int | None = None, grey: bool = False
) -> Path:
    """`SPLIT/CLASS/*.jpg`, RGB or grey: noisy stripes, whose direction is the class's, of any phase and colour.

    With `side` the images of `size` pixels are enlarged to `side` pixels a side, and noise is added.
    """
    draw = np.random.default_rng(0)
    y, x = np.mgrid[:size, :size]
    for split, n in pictures.items():
        for i in range(n):
            angle = np.pi * (i % classes) / classes + draw.normal(0, 0.2)  # classes overlap: none is perfect
            wave = np.sin(2 * np.pi * draw.uniform(3, 5) / size * (x * np.cos(angle) + y * np.sin(angle)) + 7 * i)
            colour, back = draw.uniform(20, 90, 3), draw.uniform(90, 160, 3)
            pixels = back + wave[..., None] * colour + draw.normal(0, 30, (size, size, 3))
            pixels = pixels if side is None else _photo(pixels, (side, side), draw)
            save(pixels[..., 0] if grey else pixels, root / split / f"class{i % classes}" / f"{i}.jpg")
    return root


def _photo(pixels: npt.NDArray[Any], size: tuple[int, int], draw: np.random.Generator) -> Pixels:
    """The image enlarged to `size` (width, height), with noise added."""
    photo = np.asarray(_image(pixels).resize(size, Image.Resampling.BICUBIC))
    return photo + draw.normal(0, GRAIN, photo.shape)


def digits(root: Path, size: int, limit: int | None = None) -> Path:
    """scikit-learn's 1,797 digits (or the first `limit`) as grey JPEG files; a fifth validates, a fifth tests."""
    from sklearn.datasets import load_digits

    images, labels = load_digits(return_X_y=True)
    splits = ("train", "train", "train", "validation", "test")
    for i, (image, label) in enumerate(zip(images[:limit], labels[:limit], strict=True)):
        small = Image.fromarray((image.reshape(8, 8) * 255 / 16).astype(np.uint8))
        pixels = np.asarray(small.resize((size, size), Image.Resampling.BICUBIC), dtype=np.float64)
        save(pixels, root / splits[i % 5] / str(label) / f"{i}.jpg")
    return root


def faces(root: Path, photos: int) -> Path:
    """`photos/label.txt` and photos of 640 × 480: an oval of 104 × 130 pixels each, a dark dot at 21 landmarks."""
    draw = np.random.default_rng(0)
    lines = []
    for i in range(photos):
        pixels = _photo(draw.integers(0, 200, (12, 16, 3), dtype=np.uint8), PHOTO, draw)  # soft shapes
        width, height = 104 * draw.uniform(0.9, 1.1), 130 * draw.uniform(0.9, 1.1)
        corner = draw.uniform((60, 60), (PHOTO[0] - width - 60, PHOTO[1] - height - 60))
        turns = np.linspace(0, 2 * np.pi, LANDMARKS, endpoint=False)
        shape = np.stack([0.5 + 0.35 * np.cos(turns), 0.5 + 0.35 * np.sin(turns)], 1)
        points = (shape + draw.normal(0, 0.02, shape.shape)) * (width, height) + corner
        _draw_face(pixels, (*corner, width, height), points)
        save(pixels, root / "photos" / f"{i:05d}.jpg")
        values = [*corner, corner[0] + width, corner[1] + height, *points.reshape(-1)]
        lines.append(" ".join([f"{i:05d}.jpg", *(f"{value:.2f}" for value in values)]))
    (root / "photos" / "label.txt").write_text("\n".join(lines) + "\n")
    return root


def _draw_face(pixels: Pixels, box: tuple[float, ...], points: Pixels) -> None:
    left, top, width, height = box
    rows, columns = np.mgrid[: pixels.shape[0], : pixels.shape[1]] + 0.5
    oval = ((columns - left - width / 2) / (width / 2)) ** 2 + ((rows - top - height / 2) / (height / 2)) ** 2 < 1
    pixels[oval] = 210
    for x, y in points:
        pixels[(columns - x) ** 2 + (rows - y) ** 2 < 9] = 30


def save(pixels: Pixels, file: Path) -> None:
    """Write (H, W) or (H, W, 3) values of 0 to 255 as a JPEG file of quality 90."""
    file.parent.mkdir(parents=True, exist_ok=True)
    _image(pixels).save(file, quality=90)


def _image(pixels: npt.NDArray[Any]) -> Image.Image:
    return Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8))
