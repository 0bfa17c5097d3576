"""Grey crops of faces with landmarks, and of the same photos without a face, cut from photos by a labelled box.

A photo's split and the positions of its non-faces depend on its own name alone, so adding a photo changes no other.
A crop is named `PHOTO@x1,y1,x2,y2`, by its box in pixels of the photo.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from core.component import Needs
from core.files import write_text
from core.splits import SPLITS
from datasets.base import Box, DataError, DatasetSettings, Record, Row, Shape, Source
from datasets.faces.lists import TEST_LIST, TRAIN_LIST, list_line
from datasets.faces.rows import CropSettings, FaceRow, Found, list_rows, raw_rows
from datasets.sources.folders import find_folder

LAYOUT = (
    "photos/label.txt (or in sub-folders; lines FILE x1 y1 x2 y2 p1x p1y …) beside the photos and, if there are some, "
    f"backgrounds/ with photos without faces; or ready lists {TRAIN_LIST} and {TEST_LIST}"
)
CLASSES = ("non-face", "face")
TURNS = ("augmentation.rotation", "augmentation.translate", "augmentation.crop_scale", "dataset.eval_rotation")
"""what makes a network see other pixels than those of the box"""
IndexPair = Annotated[tuple[int, int], Field(strict=False)]


class Faces(CropSettings):
    """Faces with landmarks and non-faces, cut from photos: label.txt or ready lists; test 20 %, validation 15 %.

    Of `label.txt` every tight box is widened. Up to `negatives` boxes of its size are taken from the same photo as
    non-faces, with an IoU below 0.3 to every face there; what a face lacks of them is filled, where `backgrounds/`
    holds photos in which a box of its size fits, from those of them that fell into the same split.
    """

    place_fields: ClassVar[frozenset[str]] = frozenset({"path"})
    subset_fields: ClassVar[frozenset[str]] = DatasetSettings.subset_fields | {"eval_rotation"}

    name: Literal["faces"] = "faces"
    path: str = "faces"
    """below the data root, or any folder of the user's"""
    image_size: int = Field(default=112, ge=1, le=4096)
    """height and width of what the network sees, pixels; landmarks are in these"""
    channels: Literal[1, 3] = 1
    """1 = grey, 3 = RGB"""
    context: Annotated[float, Field(ge=1, le=4), Needs(*TURNS)] = 1.0
    """the stored image covers so many times the box in each axis: what a rotation turns in; 1 = the box alone"""
    flip_pairs: Annotated[
        tuple[IndexPair, ...], Field(strict=False), Needs("augmentation.flip", "augmentation.vertical_flip")
    ] = ()
    """(left, right) landmarks that change places when an image is mirrored; (i, i) states that one keeps its place"""
    eval_rotation: float = Field(default=0.0, ge=0, le=180)
    """evaluate on images that are each turned by a fixed angle of up to so many degrees either way"""

    @model_validator(mode="after")
    def _pairs_are_disjoint(self) -> Self:
        named = [index for pair in self.flip_pairs for index in set(pair)]
        if len(named) != len(set(named)) or min(named, default=0) < 0:
            raise ValueError(f"flip_pairs = {self.flip_pairs}: every landmark's number stands in at most one pair")
        return self

    @property
    def stored_size(self) -> int:
        """Side of the stored image, pixels."""
        return round(self.image_size * self.context)

    def source(self, data_root: Path | None) -> Source:
        """The crops to cut; opens the header of every photo. Faults name file and line."""
        root = find_folder(self.path, data_root, LAYOUT)
        ready = (root / TRAIN_LIST).exists() or (root / TEST_LIST).exists()
        return self._as_source(root, (list_rows if ready else raw_rows)(root, self))

    def _as_source(self, root: Path, found: Found) -> Source:
        wrong = sorted({i for pair in self.flip_pairs for i in pair if i >= found.n_points})
        faults = [f"dataset.flip_pairs: no landmark {i}, there are {found.n_points} (from 0)" for i in wrong]
        return Source(
            root=root,
            classes=CLASSES,
            image_shape=(self.channels, self.stored_size, self.stored_size),
            rows=found.rows,
            files=found.files,
            n_points=found.n_points,
            faults=(*found.faults, *faults, *_missing(root, found.rows, self.faces_only)),
            crop=self.image_size if self.stored_size != self.image_size else 0,
            flip_pairs=self.flip_pairs,
            notes=found.notes,
            counts=found.counts,
        )

    def read(self, source: Source, row: Row) -> Record:
        """One crop."""
        return next(self.read_together(source, [row]))

    def read_file(self, file: Path, image_shape: Shape, box: Box | None = None) -> Record:
        """The crop of a box, or of the whole photo."""
        from datasets.sources.image_decoding import photo_size

        name, (width, height) = str(file), photo_size(file)
        source = Source(None, CLASSES, image_shape, (), {name: file})
        return self.read(source, FaceRow(name, 1, "test", name, box or (0, 0, width, height)))

    def read_together(self, source: Source, rows: Sequence[Row]) -> Iterator[Record]:
        """The crops of one photo, which is decoded once."""
        from datasets.sources.image_decoding import cut, decode_photo

        photo = decode_photo(source.files[rows[0].file], self.channels)
        size, margin = self.stored_size, (self.stored_size - self.image_size) // 2
        for row in rows:
            assert isinstance(row, FaceRow)
            left, top, right, bottom = row.box
            step_x, step_y = (right - left) / self.image_size, (bottom - top) / self.image_size
            x, y = left - margin * step_x, top - margin * step_y
            image = cut(photo, (x, y, x + size * step_x, y + size * step_y), size, size)
            points = None if row.points is None else (np.array(row.points) / (step_x, step_y)).astype(np.float32)
            yield Record(image, points, step_x / step_y, int(min(right - left, bottom - top)))


def write_lists(settings: Faces, data_root: Path | None, folder: Path) -> tuple[Path, Path]:
    """Writes `stage_3_train.txt` (training and validation) and `stage_3_test.txt` from the raw labels.

    Paths in them are relative to the faces folder; there the lists are read instead of the labels and give the same
    rows. Raises DataError with every fault of the data, or where other lists stand already.
    """
    root = find_folder(settings.path, data_root, LAYOUT)
    source = settings._as_source(root, raw_rows(root, settings))
    if source.faults:
        raise DataError(source.faults)
    texts = {TRAIN_LIST: "", TEST_LIST: ""}
    for row in source.rows:
        assert isinstance(row, FaceRow)
        texts[TEST_LIST if row.split == "test" else TRAIN_LIST] += list_line(row.file, row.box, row.points) + "\n"
    there = [(folder / name, text) for name, text in texts.items() if (folder / name).exists()]
    other = [file for file, text in there if file.read_text(encoding="utf-8", errors="replace") != text]
    if other:
        raise DataError(f"{file}: holds other lines; remove it or name another folder" for file in other)
    for name, text in texts.items():
        write_text(folder / name, text)
    return folder / TRAIN_LIST, folder / TEST_LIST


def _missing(root: Path, rows: Sequence[Row], faces_only: bool) -> Iterator[str]:
    """Faults that make training or evaluation on these rows impossible."""
    splits = {(row.label, row.split) for row in rows}
    for split in SPLITS:
        if (1, split) not in splits:
            add = "add photos (or, where splits are drawn, change dataset.split_seed)"
            yield f"{root}: no faces in the {split} split; {add}"
    if not faces_only and (0, "train") not in splits:
        add = "add photos without faces as backgrounds/, or use the faces alone by dataset.faces_only=true"
        yield f"{root}: no non-faces to train on; the faces fill their photos: {add}"
