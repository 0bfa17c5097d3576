"""From the lines of face data to its rows: boxes widened, non-faces placed, photos and persons kept to one split."""

from __future__ import annotations

import os
import posixpath
import re
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from random import Random
from typing import Annotated

import numpy as np
from pydantic import Field

from core.component import Needs
from core.seeds import derive_seed, stable_unit
from datasets.base import Box, DatasetSettings, Regex, Row
from datasets.faces.boxes import free_boxes, widened
from datasets.faces.lists import TEST_LIST, TRAIN_LIST, Line, Points, on_photos, photo_sizes, read_lines, same_landmarks
from datasets.sources.names import file_of, relative_name
from datasets.splits import hash_split

LABELS = "label.txt"
BACKGROUNDS = (".jpg", ".jpeg", ".png")  # another format would take the place of a background in use
DOUBTFUL = {
    "photos_mixed": "photos lie in more than one split",
    "faces_short": "faces leave room in their photo for fewer non-faces than asked for",
    "from_backgrounds": "non-faces are from backgrounds",
    "backgrounds_left_out": f"files in backgrounds/ are not read, as they do not end in {', '.join(BACKGROUNDS)}",
    "boxes_beyond": "boxes reach beyond the edge of their photo and are clipped",
}
"""counts that get a note in the audit where they are above 0"""


class CropSettings(DatasetSettings):
    """Which faces and non-faces are cut from the photos, and how their photos are split."""

    widen: float = Field(default=0.25, ge=0, le=4)
    """share of a tight box's width added left and right, and of its height above and below"""
    negatives: Annotated[int, Field(ge=0, le=100), Needs("dataset.faces_only", values=(False,))] = 3
    """non-faces a face, at most"""
    faces_only: bool = False
    """leave out non-faces"""
    group_regex: Regex = ""
    """photos for which this finds the same text in their file names (its first group, else all of the match) fall into
    the same split; empty = every photo by itself"""


@dataclass(frozen=True)
class FaceRow(Row):
    """A crop: its photo is `file`."""

    box: Box = (0, 0, 1, 1)
    """in pixels of the photo"""
    points: Points | None = None
    """relative to the box's corner, in pixels of the photo; None for a non-face"""


@dataclass(frozen=True)
class Found:
    """What the text files, and the headers of the photos, say."""

    rows: tuple[FaceRow, ...]
    files: Mapping[str, Path]
    n_points: int
    faults: tuple[str, ...]
    counts: Mapping[str, int]

    @property
    def notes(self) -> tuple[str, ...]:
        """The counts in sentences."""
        faces, others, photos = (self.counts[name] for name in ("faces", "non_faces", "photos"))
        told = (f"{self.counts[name]} {what}" for name, what in DOUBTFUL.items() if self.counts.get(name))
        return f"{faces} faces and {others} non-faces from {photos} photos", *told


def raw_rows(root: Path, settings: CropSettings) -> Found:
    """Faces and non-faces from `photos/**/label.txt` and `backgrounds/`."""
    faults: list[str] = []
    labels = [path for path in _files_below(root, "photos", faults) if posixpath.basename(path) == LABELS]
    if not labels:
        faults.append(f"{root / 'photos'}: no {LABELS} in it or below it, and no {TRAIN_LIST} in {root}")
    lines = [line for file in labels for line in read_lines(root, file, False, faults)]
    lines, n_points = same_landmarks(lines, faults)
    sizes = photo_sizes(root, _first_named(lines), faults)
    lines = list(on_photos(lines, sizes, faults))
    split_of = _splits(lines, settings, faults)
    backgrounds = _Backgrounds(root, settings, faults)
    crops, short = [], 0
    for photo, faces in _by_photo(lines).items():
        boxes = _face_boxes(faces, settings.widen, sizes[photo], faults)
        for number, (line, box) in enumerate(boxes):
            crops.append((photo, split_of[photo], box, _relative(line.points, box)))
            negatives = [] if settings.faces_only else _negatives(photo, number, boxes, sizes[photo], settings)
            crops += [(photo, split_of[photo], negative, None) for negative in negatives]
            if not settings.faces_only and len(negatives) < settings.negatives:
                short += 1
                crops += backgrounds.fill(photo, number, box, split_of[photo], settings.negatives - len(negatives))
    rows = tuple(_rows(crops))
    counts = _counts(
        rows,
        faces_short=short,
        from_backgrounds=backgrounds.used,
        backgrounds_left_out=backgrounds.left_out,
        boxes_beyond=sum(_reaches_out(line.box, sizes[line.photo]) for line in lines),
    )
    used = {row.file for row in rows} | set(sizes) | set(backgrounds.sizes)
    files = {name: file_of(root, name) for name in (*labels, *sorted(used))}
    return Found(rows, files, n_points, tuple(faults), counts)


def list_rows(root: Path, settings: CropSettings) -> Found:
    """The crops of the ready lists as they stand there; validation is taken out of the training list."""
    faults: list[str] = []
    names = [name for name in (TRAIN_LIST, TEST_LIST) if (root / name).exists()]
    by_list = {name: list(read_lines(root, name, True, faults)) for name in names}
    if TRAIN_LIST not in names:
        faults.append(f"{root}: {TEST_LIST} without {TRAIN_LIST}")
    lines, n_points = same_landmarks([line for own in by_list.values() for line in own], faults)
    sizes = photo_sizes(root, _first_named(lines), faults)
    lines = list(on_photos(lines, sizes, faults))
    split_of = _splits(lines, settings, faults, test=0 if TEST_LIST in names else 0.2)
    tested = {line.where for line in by_list.get(TEST_LIST, ())}
    crops = [
        (line.photo, "test" if line.where in tested else split_of[line.photo], line.box, line.points)
        for line in lines
        if line.points is not None or not settings.faces_only
    ]
    rows = tuple(_rows(crops))
    files = {name: file_of(root, name) for name in (*names, *sorted(sizes))}
    return Found(rows, files, n_points, tuple(faults), _counts(rows))


_Crop = tuple[str, str, Box, Points | None]


def _rows(crops: Sequence[_Crop]) -> Iterator[FaceRow]:
    """Rows named by photo and box; a second crop of the same box gets a number."""
    seen: Counter[str] = Counter()
    for photo, split, box, points in crops:
        name = f"{photo}@{','.join(f'{value:.10g}' for value in box)}"
        seen[name] += 1
        again = f" ({seen[name]})" if seen[name] > 1 else ""
        yield FaceRow(name + again, 0 if points is None else 1, split, photo, box, points)


def _splits(lines: Sequence[Line], settings: CropSettings, faults: list[str], test: float = 0.2) -> dict[str, str]:
    """Photo → split, by the photo's name or by its group; photos without faces are never grouped."""
    with_faces = {line.photo: line.where for line in reversed(lines) if line.points is not None}
    splits = {}
    for photo in dict.fromkeys(line.photo for line in lines):
        key = photo
        if settings.group_regex and photo in with_faces:
            match = re.search(settings.group_regex, posixpath.basename(photo))
            if match is None:
                faults.append(
                    f"{with_faces[photo]}: dataset.group_regex = {settings.group_regex!r} finds nothing in "
                    f"{posixpath.basename(photo)!r}"
                )
            key = f"group {match.group(1 if match.re.groups else 0)}" if match else photo
        splits[photo] = hash_split(key, settings.split_seed, test)
    return splits


def _face_boxes(
    faces: Sequence[Line], widen: float, photo: tuple[int, int], faults: list[str]
) -> list[tuple[Line, Box]]:
    """Every face of a photo with its widened box."""
    boxes = [(line, widened(line.box, widen, *photo)) for line in faces]
    faults += [f"{line.where}: the box is smaller than a pixel" for line, box in boxes if min(_size(box)) < 1]
    return [(line, box) for line, box in boxes if min(_size(box)) >= 1]


def _negatives(
    photo: str, number: int, boxes: Sequence[tuple[Line, Box]], size: tuple[int, int], settings: CropSettings
) -> list[tuple[int, int, int, int]]:
    """The non-faces of one face: clear of every face of the photo, by its tight box and by its widened one."""
    faces = np.array([*(line.box for line, _ in boxes), *(box for _, box in boxes)], dtype=np.float64)
    rng = Random(derive_seed(settings.split_seed, "negatives", photo, number))
    return free_boxes(faces, _size(boxes[number][1]), size, settings.negatives, rng)


def _size(box: Box) -> tuple[int, int]:
    return int(box[2] - box[0]), int(box[3] - box[1])


def _relative(points: Points | None, box: Box) -> Points | None:
    # To a millionth of a pixel, so that the lists show 25.97 and not 25.969999999999999, and read back alike.
    return None if points is None else tuple((round(x - box[0], 6), round(y - box[1], 6)) for x, y in points)


class _Backgrounds:
    """Photos without faces. Each falls into a split by its name and serves the faces of that split alone.

    Consistent hashing: they lie on a ring by the hash of their names, and a face takes the first one after its own hash
    in which a box of its size fits. So a new background takes over the faces just before it, and no others.
    """

    def __init__(self, root: Path, settings: CropSettings, faults: list[str]) -> None:
        files = [] if settings.faces_only else _files_below(root, "backgrounds", faults)
        names = [path for path in files if path.lower().endswith(BACKGROUNDS)]
        self.left_out = len(files) - len(names)
        self.seed = settings.split_seed
        self.sizes = photo_sizes(root, dict.fromkeys(names, ""), faults)
        self.used = 0
        self.rings: dict[str, list[tuple[float, str]]] = {"train": [], "val": [], "test": []}
        for name in self.sizes:
            self.rings[hash_split(name, self.seed)].append((stable_unit("ring", self.seed, name), name))
        for ring in self.rings.values():
            ring.sort()

    def fill(self, photo: str, number: int, box: Box, split: str, n: int) -> Iterator[_Crop]:
        """`n` boxes as large as `box`, no two the same; fewer only when no further one fits in any background."""
        taken: set[tuple[str, int]] = set()
        width, height = _size(box)
        for i in range(n):
            found = self._place(photo, number, i, (width, height), split, taken)
            if found is None:
                return
            taken.add(found)
            self.used += 1
            name, place = found
            y, x = divmod(place, self.sizes[name][0] - width + 1)
            yield name, split, (x, y, x + width, y + height), None

    def _place(
        self, photo: str, number: int, i: int, size: tuple[int, int], split: str, taken: set[tuple[str, int]]
    ) -> tuple[str, int] | None:
        """A background and a position in it, as x + positions across · y."""
        ring = self.rings[split]
        start = bisect_left(ring, (stable_unit("background", self.seed, photo, number, i), ""))
        for _, name in (*ring[start:], *ring[:start]):
            across, down = (whole - own + 1 for whole, own in zip(self.sizes[name], size, strict=True))
            if across < 1 or down < 1:
                continue
            first = int(stable_unit("place", self.seed, photo, number, i, name) * across * down)
            for step in range(min(across * down, len(taken) + 1)):
                place = (name, (first + step) % (across * down))
                if place not in taken:
                    return place
        return None


def _files_below(root: Path, folder: str, faults: list[str]) -> list[str]:
    """Every visible file in and below a folder, relative to `root`, in NFC form and in order; links are followed."""
    found, entered = [], set()
    for here, folders, files in os.walk(root / folder, followlinks=True):
        entered.add(os.path.realpath(here))
        seen = [name for name in folders if name.startswith(".") or os.path.realpath(Path(here, name)) in entered]
        folders[:] = [name for name in folders if name not in seen]
        for file in (Path(here, name) for name in files if not name.startswith(".")):
            if (path := relative_name(file, root, faults)) is not None:
                found.append(path)
    return sorted(found)


def _first_named(lines: Sequence[Line]) -> dict[str, str]:
    return {line.photo: line.where for line in reversed(lines)}


def _by_photo(lines: Sequence[Line]) -> dict[str, list[Line]]:
    photo = attrgetter("photo")
    return {name: list(own) for name, own in groupby(sorted(lines, key=photo), photo)}


def _counts(rows: Sequence[FaceRow], **more: int) -> dict[str, int]:
    splits: dict[str, set[str]] = {}
    for row in rows:
        splits.setdefault(row.file, set()).add(row.split)
    n_faces = sum(row.label for row in rows)
    mixed = sum(len(own) > 1 for own in splits.values())
    return {"faces": n_faces, "non_faces": len(rows) - n_faces, "photos": len(splits), "photos_mixed": mixed, **more}


def _reaches_out(box: Box, photo: tuple[int, int]) -> bool:
    return min(box) < 0 or box[2] > photo[0] or box[3] > photo[1]
