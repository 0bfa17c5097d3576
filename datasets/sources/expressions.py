"""Faces with one of seven expressions, grey 48 × 48: FER2013 in folders, or as the `fer2013.csv` of its competition.

Classes are in the order of their names in both; the csv numbers the emotions in another order (EMOTIONS).
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from core.component import did_you_mean
from datasets.base import DataError, Record, Row, Shape, Source
from datasets.sources.folders import ImageFiles, Side, class_faults, class_folder_source, classified, find_folder

CSV = "fer2013.csv"
LAYOUT = f"train/CLASS/*.jpg, validation/CLASS/*.jpg (or val/, valid/), test/CLASS/*.jpg, or {CSV}"
EMOTIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""by the csv's numbers 0 to 6"""
USAGES = {"Training": "train", "PublicTest": "val", "PrivateTest": "test"}
SIDE = 48


class Expressions(ImageFiles):
    """Faces of seven expressions: {train,validation,test}/CLASS folders, or fer2013.csv (emotion,pixels,Usage)."""

    name: Literal["expressions"] = "expressions"
    path: str = "expressions"
    image_size: Side = 48

    def source(self, data_root: Path | None) -> Source:
        """The rows of the csv where there is one, else the tree."""
        root = find_folder(self.path, data_root, LAYOUT)
        shape = (1, self.image_size, self.image_size)
        if (root / CSV).exists():
            return _csv_source(root, shape, self)
        return class_folder_source(root, shape, self)

    def read(self, source: Source, row: Row) -> Record:
        """The decoded and resized image."""
        from datasets.sources.image_decoding import resized_array

        if not isinstance(row, CsvRow):
            return super().read(source, row)
        return Record(resized_array(_pixels(source.files[CSV], row), 1, self.image_size), side=SIDE)


@dataclass(frozen=True)
class CsvRow(Row):
    """A line of the csv: the image is read from it when it is decoded, as all of them are 300 MB of text."""

    start: int = 0
    stop: int = 0
    """the line's bytes in the file"""
    column: int = 0
    """which cell holds the pixels"""
    line: int = 0


def _csv_source(root: Path, image_shape: Shape, settings: Expressions) -> Source:
    file, faults = root / CSV, list[str]()
    found = []
    try:
        with file.open("rb") as stream:
            first = stream.readline()
            header = _cells(first.removeprefix(b"\xef\xbb\xbf"))
            columns = {cell.decode(errors="replace").lower(): place for place, cell in enumerate(header)}
            if {"emotion", "pixels", "usage"} <= set(columns):
                found = [*_checked(file, stream, len(first), columns, faults)]
            else:
                faults.append(f"{file}:1: expected the columns emotion,pixels,Usage")
    except OSError as error:
        faults.append(f"{file}: cannot be read ({error.strerror or error})")
    classes, rows, how, wrong, notes = classified(found, settings)
    faults += [*wrong, *class_faults(file, classes, rows)]
    facts = {"splits": how}
    return Source(root, classes, image_shape, rows, {CSV: file}, faults=tuple(faults), notes=notes, facts=facts)


def _cells(line: bytes) -> list[bytes]:
    return [cell.strip().strip(b'"') for cell in line.split(b",")]


def _checked(
    file: Path, lines: Iterable[bytes], stop: int, columns: Mapping[str, int], faults: list[str]
) -> Iterator[tuple[str, CsvRow]]:
    """(emotion, row without label) of the lines without faults, which follow the header's `stop` bytes.

    Pixels are checked when they are read.
    """
    for number, line in enumerate(lines, start=2):
        start, stop = stop, stop + len(line)
        where, cells = f"{file}:{number}", _cells(line)
        if not line.strip():
            continue
        if len(cells) != len(columns):
            faults.append(f"{where}: {len(cells)} columns, where the header has {len(columns)}")
            continue
        emotion, usage = (cells[columns[name]].decode(errors="replace") for name in ("emotion", "usage"))
        if emotion not in "0123456" or len(emotion) != 1:
            codes = ", ".join(f"{code} = {name}" for code, name in enumerate(EMOTIONS))
            faults.append(f"{where}: unknown emotion {emotion!r}; allowed: {codes}")
        elif usage not in USAGES:
            faults.append(f"{where}: unknown Usage {usage!r}; {did_you_mean(usage, USAGES)}")
        else:
            place = (start, stop, columns["pixels"], number)
            yield EMOTIONS[int(emotion)], CsvRow(f"{CSV}:{number}", 0, USAGES[usage], "", *place)


def _pixels(file: Path, row: CsvRow) -> npt.NDArray[np.uint8]:
    """(48, 48) from one line; raises DataError naming it."""
    with file.open("rb") as stream:
        stream.seek(row.start)
        text = _cells(stream.read(row.stop - row.start))[row.column]
    try:
        values = np.array(text.split(), dtype=np.int64)
    except (ValueError, OverflowError) as error:
        raise DataError(f"{file}:{row.line}: pixels are whole numbers between blanks ({error})") from None
    if len(values) != SIDE * SIDE:
        raise DataError(f"{file}:{row.line}: {len(values)} pixels, expected {SIDE} × {SIDE} = {SIDE * SIDE}")
    if values.min() < 0 or values.max() > 255:
        raise DataError(f"{file}:{row.line}: pixels from {values.min()} to {values.max()}, allowed: 0 to 255")
    return values.astype(np.uint8).reshape(SIDE, SIDE)
