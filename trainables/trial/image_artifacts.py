"""Draws a finished trial's images: thumbnails of test images, and one image's feature maps.

Nothing here changes a number. Thumbnails are PNG files `images/INDEX.png`, INDEX as in the trial's predictions; the
image's feature maps are `feature_maps/NN_LAYER.png` with `feature_maps/about.json`, which says what each file shows.
"""

import io
import json
import math
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from core.files import write_atomically, write_text
from datasets.base import Dataset
from datasets.lookup import find_example, matching
from trainables.training.learner import Learner
from trainables.trial.feature_maps import first_filters, levels, maps_of, stages

WRONG = 48  # thumbnails of a classifier's mistakes, at most
FACES = 24  # of faces with landmarks: a third the worst, a third about the median, the rest a sample
SMALLEST, LARGEST = 32, 112  # pixels of a thumbnail's longer side; smaller ones are enlarged, larger ones reduced
TILE = 48  # pixels of the longer side of a map or filter at least
GAP = 2  # pixels between the images of a grid
DEFAULT_IMAGE = "AnnualCrop_1111.jpg"
CLEAR = 255  # the palette index of transparent pixels
# Nine colours of matplotlib's viridis (CC0), even steps of lightness; the others lie between them.
VIRIDIS = ("440154", "472c7a", "3b518b", "2c718e", "21908d", "27ad81", "5cc863", "aadc32", "fde725")

Pixels = npt.NDArray[np.uint8]


def draw(learner: Learner, dataset: Dataset, found: dict[str, Tensor], folder: Path) -> None:
    """Write images/ and feature_maps/ below `folder`, from the learner's present (selected) weights.

    `found` is what `learner.predictions("test")` gives.
    """
    rows = shown_rows(found)
    for start in range(0, len(rows), FACES):
        part = rows[start : start + FACES]
        for row, image in zip(part, pixels_of(learner, "test", part), strict=True):
            _save(thumbnail(image, faces="points" in found), folder / "images" / f"{row}.png")
    draw_feature_maps(learner, dataset, folder / "feature_maps")


def shown_rows(found: dict[str, Tensor]) -> list[int]:
    """Test examples that get a thumbnail, ascending.

    Classification: the first misclassified ones; the order of a split is fixed, so trials of a study that make the same
    mistakes show the same images. Faces: those with the largest and the median landmark errors, then the first ones.
    """
    rows: set[int] = set()
    if "scores" in found:
        wrong = (found["scores"].argmax(1) != found["labels"]).nonzero().flatten()
        rows |= set(wrong[:WRONG].tolist())
    if "points" in found:
        errors = (found["points"] - found["true_points"]).norm(dim=2).mean(1)
        faces = errors.isfinite().nonzero().flatten()
        worst_first = faces[errors[faces].argsort(descending=True, stable=True)].tolist()
        part, middle = FACES // 3, len(worst_first) // 2
        kept = dict.fromkeys((*worst_first[:part], *worst_first[max(0, middle - part // 2) :][:part], *faces.tolist()))
        rows |= set(list(kept)[:FACES])
    return sorted(rows)


def pixels_of(learner: Learner, split: str, rows: list[int]) -> list[Pixels]:
    """Images (H, W) or (H, W, 3) as the network is shown them for evaluation, before they are normalised."""
    data = learner.data
    images = learner.inputs(split, torch.tensor(rows, device=learner.device)) * data.scale + data.shift
    pixels = (images.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [image[..., 0] if image.shape[-1] == 1 else image for image in pixels]


def thumbnail(pixels: Pixels, faces: bool = False) -> Image.Image:
    """The image with its longer side between 32 and 112 pixels; a face as it is, for landmarks are in its pixels."""
    image = Image.fromarray(pixels)
    return image if faces else fitted(image, SMALLEST, LARGEST)


def fitted(image: Image.Image, smallest: int, largest: int) -> Image.Image:
    """The image with its longer side enlarged to at least `smallest` pixels (by a whole factor, nearest neighbour) or
    reduced to `largest` (box filter), its aspect ratio kept."""
    side = max(image.size)
    if side < smallest:
        times = math.ceil(smallest / side)
        return image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    if side > largest:
        width, height = (max(1, round(length * largest / side)) for length in image.size)
        return image.resize((width, height), Image.Resampling.BOX)
    return image


def draw_feature_maps(learner: Learner, dataset: Dataset, folder: Path) -> None:
    """The inspected image, the maps of each stage of the network, and the filters of its first convolution."""
    split, row = inspected(dataset, learner.config.inspect.image)
    images = learner.inputs(split, torch.tensor([row], device=learner.device))
    network = learner.evaluated.eval()

    def run() -> None:
        learner.forward(network, images)

    image = Image.fromarray(pixels_of(learner, split, [row])[0])
    _save(fitted(image, LARGEST, 2 * LARGEST), folder / "00_input.png")
    about = []
    with torch.no_grad():
        found = stages(network, run)
        for number, (stage, maps) in enumerate(zip(found, maps_of(network, found, run), strict=True), 1):
            values, constant = levels(maps)
            file = f"{number:02d}_{stage.layer}.png"
            _save(map_grid(values.numpy()), folder / file)
            about.append({"file": file, **vars(stage), "drawn": len(maps), "constant": constant})
    filters = first_filters(network)
    if filters is not None:
        _save(filter_grid(filters.permute(0, 2, 3, 1).numpy()), folder / "filters.png")
    label = int(dataset.splits[split].labels[row])
    facts = {
        "picture": dataset.splits[split].paths[row],
        "split": split,
        "index": row,
        "class": learner.info.classes[label],
        "stages": about,
    }
    text = json.dumps(facts, ensure_ascii=False, indent=1)
    write_text(folder / "about.json", text)


def inspected(dataset: Dataset, name: str) -> tuple[str, int]:
    """(split, row) of the image to inspect; DataError where a name is given and means none."""
    if name:
        return find_example(dataset, name)
    return next(iter(matching(dataset, DEFAULT_IMAGE).values()), ("test", 0))


def map_grid(values: Pixels) -> Image.Image:
    """Maps (N, H, W) of 0 … 254 side by side, from dark blue to yellow, with transparent gaps."""
    tiles = [np.asarray(fitted(Image.fromarray(value), TILE, LARGEST)).clip(max=CLEAR - 1) for value in values]
    grid = Image.fromarray(_laid_out(np.stack(tiles), CLEAR), "P")
    grid.putpalette(_palette().tobytes())
    grid.info["transparency"] = CLEAR
    return grid


def filter_grid(filters: Pixels) -> Image.Image:
    """Filters (N, kH, kW, 3 or 1) side by side, in colour or in grey, with transparent gaps."""
    coloured = np.broadcast_to(filters, (*filters.shape[:3], 3))
    opaque = np.concatenate([coloured, np.full((*filters.shape[:3], 1), 255, np.uint8)], axis=3)
    tiles = [np.asarray(fitted(Image.fromarray(tile, "RGBA"), TILE, LARGEST)) for tile in opaque]
    return Image.fromarray(_laid_out(np.stack(tiles), 0), "RGBA")


def _laid_out(tiles: Pixels, gap: int) -> Pixels:
    """Images (N, H, W, …) in a roughly square grid, with gaps of the value `gap` between them."""
    n, height, width = tiles.shape[:3]
    square = math.ceil(math.sqrt(n))
    columns = next((count for count in range(square, 2 * square) if n % count == 0), square)
    rows = math.ceil(n / columns)
    shape = (rows * (height + GAP) - GAP, columns * (width + GAP) - GAP, *tiles.shape[3:])
    canvas = np.full(shape, gap, dtype=np.uint8)
    for i, tile in enumerate(tiles):
        top, left = i // columns * (height + GAP), i % columns * (width + GAP)
        canvas[top : top + height, left : left + width] = tile
    return canvas


def _palette() -> Pixels:
    """(256, 3): viridis for 0 … 254; the last is white."""
    stops = np.array([[int(colour[i : i + 2], 16) for i in (0, 2, 4)] for colour in VIRIDIS], dtype=float)
    places = np.linspace(0, len(stops) - 1, CLEAR)
    colours = np.stack([np.interp(places, range(len(stops)), stops[:, channel]) for channel in range(3)], axis=1)
    return np.vstack([colours.round(), [255, 255, 255]]).astype(np.uint8)


def _save(image: Image.Image, file: Path) -> None:
    encoded = io.BytesIO()
    image.save(encoded, "PNG", **({"transparency": CLEAR} if image.mode == "P" else {}))
    write_atomically(file, lambda temporary: temporary.write_bytes(encoded.getvalue()))
