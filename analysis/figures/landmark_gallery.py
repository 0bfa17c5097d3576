"""Galleries of test faces with landmarks: predicted ones red, true ones green, each pair joined by a line."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analysis.figures.cell_labels import label
from analysis.figures.gallery import Gallery, GalleryImage, png_bytes, read_image
from analysis.figures.thumbnails import Thumbnails
from analysis.records.columns import read_parquet, unless_damaged
from analysis.records.run_directory import RunDirectory
from analysis.records.run_records import Records
from analysis.statistics.prediction_errors import point_errors
from analysis.tables.formatting import number

EACH = 3  # faces each of the best, median and worst
SIDE = 224  # pixels of an image's longer side
FINE = 3  # oversampling factor for drawing, which smooths the edges of marks
OUTSIDE = 0.25  # greatest margin, as a share of the crop's side, for landmarks outside the crop
RED, GREEN, DARK, MARGIN = (255, 45, 60), (0, 230, 110), (0, 0, 0), (128, 136, 144)


@dataclass(frozen=True)
class Landmarks:
    """Test faces of one trial: index (N,), true and found landmarks (N, L, 2) in pixels of the crop, and their mean
    distance, error (N,)."""

    index: NDArray[np.int64]
    true: NDArray[np.float64]
    found: NDArray[np.float64]
    error: NDArray[np.float64]


def landmark_galleries(
    records: Records, run: RunDirectory, thumbnails: Thumbnails, featured: Mapping[str, str]
) -> list[Gallery]:
    """One gallery per cell: the best, median and worst of its first seed's faces with a thumbnail.

    If landmarks were predicted but no thumbnail was kept, one gallery that says so; none without landmarks.
    """
    galleries, any_landmarks = [], False
    trials = {cell: records.first_trial(cell, lambda name: _file(run, name).is_file()) for cell in featured}
    read = {cell: read_landmarks(_file(run, trial)) for cell, trial in trials.items() if trial}
    for place, (cell, landmarks) in enumerate(read.items()):
        if landmarks is None:
            continue
        any_landmarks = True
        others = {label(other): theirs for other, theirs in read.items() if other != cell and theirs is not None}
        gallery = _gallery(records, cell, landmarks, thumbnails, others)
        if gallery:
            head = f"Landmarks of test faces: {featured[cell]}"
            galleries.append(Gallery(f"landmarks_{place + 1}", "pictures", head, gallery[0], gallery[1]))
    if any_landmarks and not galleries:
        said = "The trials of these cells kept no thumbnails (artifacts/TRIAL/images), so no face can be shown."
        return [Gallery("landmarks", "pictures", "Landmarks of test faces", said, ())]
    return galleries


def _file(run: RunDirectory, trial: str) -> Path:
    return run.artifact(trial, "landmarks.parquet")


@unless_damaged
def read_landmarks(path: Path) -> Landmarks | None:
    """The landmarks in a Parquet file; None if it is unreadable or has no face with finite landmarks."""
    table = read_parquet(path)
    if table is None:
        return None
    count = sum(str(name).startswith("true_x") for name in table)
    true, found = ([f"{side}{axis}{i}" for i in range(count) for axis in "xy"] for side in ("true_", ""))
    if not count or not {"index", *true, *found} <= set(table):
        return None
    table = table.loc[np.isfinite(table[[*true, *found]].to_numpy("float64")).all(axis=1)]
    if table.empty:
        return None
    theirs, ours = (table[names].to_numpy("float64").reshape(-1, count, 2) for names in (true, found))
    return Landmarks(table["index"].to_numpy("int64"), theirs, ours, point_errors(table))


def chosen(landmarks: Landmarks, available: set[int]) -> dict[int, str]:
    """By row of a face, "best", "median" or "worst": EACH of the available faces with the lowest error, the error
    nearest to the median of all faces, and the highest error; each face once."""
    places = [place for place in np.argsort(landmarks.error, kind="stable") if int(landmarks.index[place]) in available]
    median = float(np.median(landmarks.error))
    near = sorted(places, key=lambda place: (abs(float(landmarks.error[place]) - median), place))
    sorts = (("worst", places[::-1][:EACH]), ("best", places[:EACH]), ("median", near))
    named: dict[int, str] = {}
    for name, candidates in sorts:
        free = [int(place) for place in candidates if int(place) not in named]
        named |= dict.fromkeys(free[:EACH], name)
    order = {"best": 0, "median": 1, "worst": 2}
    by_error = sorted(named, key=lambda place: (order[named[place]], float(landmarks.error[place])))
    return {place: named[place] for place in by_error}


def _gallery(
    records: Records, cell: str, landmarks: Landmarks, thumbnails: Thumbnails, others: Mapping[str, Landmarks]
) -> tuple[str, tuple[GalleryImage, ...]] | None:
    trials = list(records.finished_trials(cell).values())
    files = {int(index): thumbnails.find(int(index), trials) for index in landmarks.index}
    named = chosen(landmarks, {index for index, file in files.items() if file})
    images = []
    for place, sort in named.items():
        index, error = int(landmarks.index[place]), f"{number(float(landmarks.error[place]), 3)} px"
        png = overlay(files[index], landmarks.true[place], landmarks.found[place])
        if png is None:
            continue
        theirs = [f"{name} {_error_of(other, index)}" for name, other in others.items() if _error_of(other, index)]
        beside = f" ({', '.join(theirs)})" if theirs else ""
        alt = f"test face {index} with true and predicted landmarks, on average {error} apart"
        images.append(GalleryImage(png, f"{sort}, {error}{beside}", alt))
    if not images:
        return None
    caption = (
        "Green rings are the true landmarks, red crosses the predicted ones; the error is their mean distance in "
        "pixels of the crop. The first seed: its best faces, those about the median and the worst, as far as "
        f"thumbnails were kept. The median error of all {len(landmarks.index)} test faces is "
        f"{number(float(np.median(landmarks.error)), 3)} px."
    )
    return caption, tuple(images)


def _error_of(landmarks: Landmarks, index: int) -> str:
    found = np.flatnonzero(landmarks.index == index)
    return f"{number(float(landmarks.error[found[0]]), 3)} px" if len(found) else ""


def overlay(file: Path | None, true: NDArray[np.float64], found: NDArray[np.float64]) -> bytes | None:
    """The face of `file` with its landmarks (L, 2), as PNG with a longer side of SIDE; None if it is unreadable.

    A margin shows landmarks outside of the image, at most OUTSIDE of its side; marks beyond that are drawn at the
    border.
    """
    from PIL import Image, ImageDraw

    face = read_image(file, lambda mode: "RGB")
    if face is None:
        return None
    side = max(face.size)
    every = np.concatenate([true, found])
    beyond = max(0.0, float((every - face.size).max()), -float(every.min()))
    room = min(OUTSIDE * side, beyond + side / 30) if beyond else 0.0
    scale = SIDE * FINE / (side + 2 * room)
    canvas = Image.new("RGB", (round(scale * (face.width + 2 * room)), round(scale * (face.height + 2 * room))), MARGIN)
    sized = face.resize((round(scale * face.width), round(scale * face.height)), Image.Resampling.BICUBIC)
    canvas.paste(sized, (round(scale * room), round(scale * room)))
    limit = np.array(canvas.size) - 1
    a, b = (np.clip((points + room) * scale, 0, limit) for points in (true, found))
    _marks(ImageDraw.Draw(canvas), a, b, SIDE * FINE)
    return png_bytes(canvas.resize((canvas.width // FINE, canvas.height // FINE), Image.Resampling.BOX))


def _marks(draw: Any, true: NDArray[np.float64], found: NDArray[np.float64], side: int) -> None:
    """Draw rings and crosses with dark edges, visible on light skin and dark hair."""
    radius = side / (45 if len(true) <= 8 else 70)
    for width, dark in ((radius * 1.1, True), (radius * 0.5, False)):
        for (x, y), (u, v) in zip(true, found, strict=True):
            thick = round(width)
            draw.line([(x, y), (u, v)], fill=DARK if dark else (255, 255, 255), width=max(1, round(width / 2)))
            edge = radius + (radius * 0.3 if dark else 0)
            draw.ellipse([x - edge, y - edge, x + edge, y + edge], outline=DARK if dark else GREEN, width=thick)
            for sign in (1, -1):
                arm = radius * (1.25 if dark else 1.0)
                ends = [(u - arm, v - sign * arm), (u + arm, v + sign * arm)]
                draw.line(ends, fill=DARK if dark else RED, width=thick)
