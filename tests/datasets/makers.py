"""Small copies of every data set in the layout users have on disk, with true labels; each in well under a second.

All return the data root that they were given. Nothing is random from call to call.
"""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]
EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
ANIMALS = ("cat", "dog", "emu")
LAND_USES = (
    "AnnualCrop",
    "Forest",
    "HerbaceousVegetation",
    "Highway",
    "Industrial",
    "Pasture",
    "PermanentCrop",
    "Residential",
    "River",
    "SeaLake",
)
# Left eye, right eye, nose, left and right corner of the mouth (as seen), as shares of the box; then a chin line.
TEMPLATE = ((0.3, 0.35), (0.7, 0.35), (0.5, 0.55), (0.35, 0.75), (0.65, 0.75))
FLIP_PAIRS = ((0, 1), (3, 4))


def dots(shape: tuple[int, int], points: npt.ArrayLike, sigma: float = 1.5) -> npt.NDArray[np.float64]:
    """(height, width) in [0, 1]: a round spot at every (x, y), in continuous coordinates (pixel i spans i to i + 1)."""
    y, x = np.mgrid[: shape[0], : shape[1]] + 0.5
    canvas = np.zeros(shape)
    for left, top in np.asarray(points, dtype=float).reshape(-1, 2):
        canvas += np.exp(-((x - left) ** 2 + (y - top) ** 2) / (2 * sigma**2))
    return canvas.clip(max=1)


def make_faces(
    root: Path,
    photos: int = 60,
    landmarks: int = 5,
    backgrounds: int = 6,
    size: tuple[int, int] = (200, 160),
    folders: Sequence[str] = ("", "more"),
) -> Path:
    """`faces/photos/**/label.txt` and `faces/backgrounds/`: bright ovals with a dark dot at every landmark.

    The first five digits of a name are the person, three photos each; every fourth photo has a second, smaller face.
    `size` is (width, height) of the photos.
    """
    rng = np.random.default_rng(0)
    lines: dict[str, list[str]] = {folder: [] for folder in folders}
    for i in range(photos):
        folder = folders[i % len(folders)]
        name = f"{i // 3:05d}{'abc'[i % 3]}.png"
        canvas = _texture(rng, size)
        corners = [(0.08, 0.1, 0.4)] + ([(0.62, 0.5, 0.25)] if i % 4 == 0 else [])
        for left, top, share in corners:
            height = share * size[1] * rng.uniform(0.9, 1.1)
            x, y, width = left * size[0] + rng.uniform(0, 8), top * size[1] + rng.uniform(0, 8), 0.8 * height
            points = _landmarks(rng, landmarks) * (width, height) + (x, y)
            _draw_face(canvas, (x, y, width, height), points)
            values = [x, y, x + width, y + height, *points.reshape(-1)]
            lines[folder].append(" ".join([name, *(f"{value:.2f}" for value in values)]))
        _save(canvas, root / "faces" / "photos" / folder / name)
    for folder, own in lines.items():
        if own:
            (root / "faces" / "photos" / folder / "label.txt").write_text("\n".join(own) + "\n")
    for i in range(backgrounds):
        _save(_texture(rng, size), root / "faces" / "backgrounds" / f"wall {i}.jpg")
    return root


def _landmarks(rng: np.random.Generator, n: int) -> npt.NDArray[np.float64]:
    chin = [(0.2 + 0.6 * i / max(1, n - 6), 0.9) for i in range(n - len(TEMPLATE))]
    return np.array([*TEMPLATE, *chin])[:n] + rng.uniform(-0.03, 0.03, (n, 2))


def _draw_face(canvas: npt.NDArray[np.float64], box: tuple[float, float, float, float], points: npt.ArrayLike) -> None:
    x, y, width, height = box
    rows, columns = np.mgrid[: canvas.shape[0], : canvas.shape[1]] + 0.5
    oval = ((columns - x - width / 2) / (width / 2)) ** 2 + ((rows - y - height / 2) / (height / 2)) ** 2 < 1
    canvas[oval] = 200
    canvas -= 180 * dots((canvas.shape[0], canvas.shape[1]), points)


def _texture(rng: np.random.Generator, size: tuple[int, int]) -> npt.NDArray[np.float64]:
    return 60 + 30 * rng.random() + rng.normal(0, 12, (size[1], size[0]))


def make_animals(root: Path, per_class: int = 30, classes: Sequence[str] = ANIMALS, csv: bool = False) -> Path:
    """`animals/<class>/*`, colour photos of differing sizes; with `csv` also `animal_data.csv`, shuffled."""
    paths = []
    for label, name in enumerate(classes):
        for i in range(per_class):
            path = f"{name}/{name} ({i}){('.jpg', '.png', '.JPEG')[i % 3]}"
            _save(_coloured(label, i, (30 + i % 5, 24, 3)), root / "animals" / path)
            paths.append((path, name))
    if csv:
        rows = [f"{path},{name}" for path, name in np.random.default_rng(0).permutation(paths)]
        (root / "animals" / "animal_data.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    return root


def make_expressions(root: Path, per_class: int = 12, csv: bool = False, validation: str = "validation") -> Path:
    """`expressions/{train,validation,test}/<class>/*` or, with the same images, `expressions/fer2013.csv`.

    `per_class` images of every class train, half as many validate and test.
    """
    usages = {"Training": "train", "PublicTest": validation, "PrivateTest": "test"}
    lines = ["emotion,pixels,Usage"]
    for usage, split in usages.items():
        for label, name in enumerate(EMOTIONS):
            for i in range(per_class if split == "train" else max(1, per_class // 2)):
                pixels = _coloured(label, i + 1000 * len(split), (48, 48))
                if csv:
                    lines.append(f"{label},{' '.join(map(str, pixels.reshape(-1)))},{usage}")
                else:
                    _save(pixels, root / "expressions" / split / name / f"{usage}_{i}.png")
    if csv:
        (root / "expressions").mkdir(parents=True, exist_ok=True)
        (root / "expressions" / "fer2013.csv").write_text("\n".join(lines) + "\n")
    return root


def make_eurosat(root: Path, per_class: int = 20, below: str = "EuroSAT/2750") -> Path:
    """`eurosat/EuroSAT/2750/<class>/<class>_<i>.jpg`, as the archive unpacks (or `below` another folder, "" = none)."""
    for label, name in enumerate(LAND_USES):
        for i in range(1, per_class + 1):
            pixels = _coloured(label, i, (64, 64, 3))
            _save(pixels, root / "eurosat" / below / name / f"{name}_{i}.jpg")
    return root


def _coloured(label: int, i: int, shape: tuple[int, ...]) -> Pixels:
    """Noise around a level (or a colour) of the class's own: no two alike, and easy to learn."""
    rng = np.random.default_rng([label, i])
    levels = (
        40 + np.array([label * 53 % 160, label * 97 % 160, label * 31 % 160])[: shape[-1] if len(shape) == 3 else 1]
    )
    return (levels + rng.normal(0, 20, shape)).clip(0, 255).astype(np.uint8)


def _save(pixels: npt.NDArray, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.round().clip(0, 255).astype(np.uint8)).save(file)


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is so large, and holds no pixels."""
    return _png(width, height, 8, 0, b"")


def png16(values: npt.NDArray[np.uint16]) -> bytes:
    """A PNG of 16 bits a channel from (height, width, 3), which pillow can read but not write."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return _png(values.shape[1], values.shape[0], 16, 2, rows)


def _png(width: int, height: int, bits: int, kind: int, rows: bytes) -> bytes:
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    data = b"IDAT" + zlib.compress(rows)
    parts = (header, data, b"IEND") if rows else (header, data)
    chunks = (struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def make_table(root: Path, name: str = "labels.csv") -> Path:
    """`labels.csv` beside `animals/`: 90 pictures of three classes, of thirty patients with three pictures each."""
    folder = make_animals(root) / "animals"
    lines = ["filename,label,patient"]
    for label in ANIMALS:
        for i, file in enumerate(sorted((folder / label).iterdir())):
            lines.append(f"animals/{label}/{file.name},{label},{label} {i // 3}")
    (root / name).write_text("\n".join(lines) + "\n")
    return root
