"""Galleries of a network's feature maps of one image, layer by layer, and of its first convolution's filters.

Trials write them as artifacts/TRIAL/feature_maps/NN_LAYER.png, with about.json, which describes each file.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.figures.gallery import Gallery, GalleryImage, png_bytes, read_image
from analysis.records.run_directory import RunDirectory
from analysis.records.run_records import Records
from analysis.records.untrusted import read_json

LARGEST = 480  # pixels of an image's longer side
FILTERS = "filters.png"


def feature_map_galleries(records: Records, run: RunDirectory, featured: Mapping[str, str]) -> list[Gallery]:
    """A gallery of the filters of all cells, and one of feature maps per cell, from each cell's first seed with any."""
    if not run.artifacts.is_dir():
        return []
    folders: dict[str, Path] = {}
    for cell in featured:
        trial = records.first_trial(cell, lambda name: (_folder(run, name)).is_dir())
        if trial:
            folders[cell] = _folder(run, trial)
    filters = [
        GalleryImage(png, featured[cell], f"filters of the first convolution of {featured[cell]}")
        for cell, folder in folders.items()
        if (png := read_grid(folder / FILTERS))
    ]
    said = "Weights of the first convolution; grey is 0, and one scale holds for all filters of a cell. The first seed."
    made = [Gallery("filters", "pictures", "First-layer filters", said, tuple(filters))] if filters else []
    for place, (cell, folder) in enumerate(folders.items()):
        about = read_about(folder)
        images = _maps(folder, about)
        if images:
            title = f"Feature maps: {featured[cell]}"
            made.append(Gallery(f"feature_maps_{place + 1}", "pictures", title, _caption(about), images))
    return made


def _folder(run: RunDirectory, trial: str) -> Path:
    return run.artifact(trial, "feature_maps")


def read_about(folder: Path) -> dict[str, Any]:
    """The content of about.json; empty if it is missing or unreadable."""
    return read_json(folder / "about.json")


def _maps(folder: Path, about: Mapping[str, Any]) -> tuple[GalleryImage, ...]:
    """The image and its feature maps, in the order of the forward pass."""
    listed = about.get("stages")
    listed = listed if isinstance(listed, list) else []
    stages = {str(stage.get("file")): stage for stage in listed if isinstance(stage, dict)}
    images: list[GalleryImage] = []
    for file in sorted(folder.glob("[0-9]*_*.png")):
        png = read_grid(file)
        if png:
            label = _label(file.stem.partition("_")[2], stages.get(file.name))
            images.append(
                GalleryImage(
                    png, label, f"feature maps: {label}" if images else f"the picture that is inspected: {label}"
                )
            )
    return tuple(images)


def _label(layer: str, stage: Mapping[str, Any] | None) -> str:
    """The layer with the number and size of its maps, and how many are constant."""
    if not stage:
        return layer
    drawn, channels = stage.get("drawn"), stage.get("channels")
    some = f"{drawn} of {channels}" if drawn != channels else f"{channels}"
    constant = f", {stage['constant']} constant" if stage.get("constant") else ""
    return f"{layer}: {some} maps, {stage.get('height')} × {stage.get('width')}{constant}"


def _caption(about: Mapping[str, Any]) -> str:
    what = "One picture"
    if about.get("picture"):
        what = f"{about['picture']} ({about.get('split')}, class {about.get('class')})"
    return (
        f"{what} in each stage of the first seed's network, after batch norm and activation; each map from its own "
        "least value (dark) to its greatest (bright). A constant map is a channel that says nothing about it."
    )


def read_grid(file: Path) -> bytes | None:
    """The file's bytes, or the image reduced to LARGEST pixels as PNG; None if it is missing or unreadable."""
    from PIL import Image

    image = read_image(file, lambda mode: "RGBA")
    if image is None or max(image.size) <= LARGEST:
        return file.read_bytes() if image else None
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    return png_bytes(image.quantize(128, Image.Quantize.FASTOCTREE))
