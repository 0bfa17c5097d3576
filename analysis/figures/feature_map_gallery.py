"""What the network makes of one picture, stage by stage, and the filters of its first convolution, as galleries.

Trials draw them as artifacts/TRIAL/feature_maps/NN_LAYER.png, with about.json on what each file shows.
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from analysis.figures.gallery import Gallery, Picture, encoded
from analysis.records.run_directory import RunDirectory
from analysis.records.run_records import Records

LARGEST = 480  # pixels of a picture's longer side
FILTERS = "filters.png"


def feature_map_galleries(records: Records, run: RunDirectory, shown: Mapping[str, str]) -> list[Gallery]:
    """Of each cell's first seed that has any: a gallery of filters of all cells, and one of feature maps a cell."""
    if not run.artifacts.is_dir():
        return []
    folders: dict[str, Path] = {}
    for cell in shown:
        trial = records.first_trial(cell, lambda name: (_folder(run, name)).is_dir())
        if trial:
            folders[cell] = _folder(run, trial)
    filters = [
        Picture(png, shown[cell], f"filters of the first convolution of {shown[cell]}")
        for cell, folder in folders.items()
        if (png := read_grid(folder / FILTERS))
    ]
    said = "Weights of the first convolution; grey is 0, and one scale holds for all filters of a cell. The first seed."
    made = [Gallery("filters", "pictures", "First-layer filters", said, tuple(filters))] if filters else []
    for place, (cell, folder) in enumerate(folders.items()):
        about = read_about(folder)
        pictures = _maps(folder, about)
        if pictures:
            title = f"Feature maps: {shown[cell]}"
            made.append(Gallery(f"feature_maps_{place + 1}", "pictures", title, _caption(about), pictures))
    return made


def _folder(run: RunDirectory, trial: str) -> Path:
    return run.artifacts / trial / "feature_maps"


def read_about(folder: Path) -> dict[str, Any]:
    """What about.json says; nothing where it is missing or unreadable."""
    try:
        about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return about if isinstance(about, dict) else {}


def _maps(folder: Path, about: Mapping[str, Any]) -> tuple[Picture, ...]:
    """The picture and its maps in the order of the pass."""
    stages = {str(stage.get("file")): stage for stage in about.get("stages", []) if isinstance(stage, dict)}
    pictures: list[Picture] = []
    for file in sorted(folder.glob("[0-9]*_*.png")):
        png = read_grid(file)
        if png:
            label = _label(file.stem.partition("_")[2], stages.get(file.name))
            pictures.append(
                Picture(png, label, f"feature maps: {label}" if pictures else f"the picture that is inspected: {label}")
            )
    return tuple(pictures)


def _label(layer: str, stage: Mapping[str, Any] | None) -> str:
    """The stage with the number and size of its maps, and how many say nothing."""
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
    """The file itself, or reduced to LARGEST pixels; None where it is missing or unreadable."""
    from PIL import Image

    try:
        data = file.read_bytes()
        with Image.open(io.BytesIO(data)) as opened:
            opened.load()
            if max(opened.size) <= LARGEST:
                return data
            image = opened.convert("RGBA")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    image.thumbnail((LARGEST, LARGEST), Image.Resampling.BOX)
    return encoded(image.quantize(128, Image.Quantize.FASTOCTREE))
