"""The text files of face data, line by line: raw `label.txt`, ready `stage_3_train.txt` and `stage_3_test.txt`.

A raw line is `FILE x1 y1 x2 y2 p1x p1y …`, tight box and landmarks in pixels of the photo. A line of a ready list has
the final box in pixels of the photo and its landmarks relative to the box's corner, or a single 0 for a non-face.
"""

import math
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from core.aside import thread_pool
from datasets.base import Box, DataError
from datasets.sources.names import file_of, inside, leaves

TRAIN_LIST, TEST_LIST = "stage_3_train.txt", "stage_3_test.txt"
# A name may hold blanks, so it ends at the last image extension; names without one end at the first blank.
_LINE = re.compile(r"(.+\.(?:jpe?g|png|bmp|tiff?|webp|pgm|ppm|gif))(?:\s+(.*))?$", re.IGNORECASE)

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Line:
    """One parsed line that has no fault by itself."""

    where: str
    """the file and the line's number, as faults name them"""
    photo: str
    """relative to the data set's folder"""
    box: Box
    points: Points | None
    """None for a non-face"""


def read_lines(root: Path, file: str, ready: bool, faults: list[str]) -> Iterator[Line]:
    """The lines of one file (its path relative to `root`) that hold no fault; `ready`: in a list's format."""
    try:
        text = (root / file).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        faults.append(f"{root / file}: cannot be read ({error})")
        return
    for number, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        where = f"{root / file}:{number}"
        try:
            yield _parsed(content.strip(), where, posixpath.dirname(file), ready)
        except DataError as error:
            faults += error.faults


def _parsed(content: str, where: str, folder: str, ready: bool) -> Line:
    match = _LINE.match(content) or re.match(r"(\S+)(?:\s+(.*))?$", content)
    assert match is not None  # a line with anything on it has a first word
    name, rest = match.groups()
    photo = inside(name, folder)
    if photo is None:
        raise DataError(f"{where}: {leaves(name)}")
    values = [_number(token, where) for token in (rest or "").split()]
    non_face = ready and len(values) == 5 and values[4] == 0
    if not non_face and (len(values) < 6 or len(values) % 2):
        expected = "4 of the box, then x and y of every landmark" + " (or a single 0, for a non-face)" * ready
        raise DataError(f"{where}: {len(values)} numbers after the file's name; expected {expected}")
    left, top, right, bottom = values[:4]
    if left >= right or top >= bottom:
        raise DataError(f"{where}: box {_text(values[:4])} is empty or its corners are swapped; x1 < x2 and y1 < y2")
    points = None if non_face else tuple(zip(values[4::2], values[5::2], strict=True))
    return Line(where, photo, (left, top, right, bottom), points)


def _number(token: str, where: str) -> float:
    try:
        value = float(token)
    except ValueError:
        raise DataError(f"{where}: {token!r} is not a number") from None
    if not math.isfinite(value):
        raise DataError(f"{where}: {token} is not a finite number")
    return value


def same_landmarks(lines: Sequence[Line], faults: list[str]) -> tuple[list[Line], int]:
    """The lines with as many landmarks as most faces have, and that number; the others are faults."""
    counts = Counter(len(line.points) for line in lines if line.points is not None)
    usual = counts.most_common(1)[0][0] if counts else 0
    kept = []
    for line in lines:
        if line.points is None or len(line.points) == usual:
            kept.append(line)
        else:
            faults.append(f"{line.where}: {len(line.points)} landmarks, where most faces have {usual}")
    return kept, usual


def photo_sizes(root: Path, first_named: Mapping[str, str], faults: list[str]) -> dict[str, tuple[int, int]]:
    """(width, height) of the photos that can be read, from their headers; `first_named`: photo → line, or ""."""
    from datasets.sources.image_decoding import photo_size, remarks

    def size(photo: str) -> tuple[int, int] | str:
        where = f"{first_named[photo]}: " if first_named[photo] else ""
        file = file_of(root, photo)
        if not file.is_file():
            return f"{where}no such photo: {file}"
        try:
            return photo_size(file)
        except DataError as error:
            return f"{where}{error}"

    with remarks(), thread_pool() as pool:  # of which decoding tells
        found = dict(zip(first_named, pool.map(size, first_named), strict=True))
    faults += [size for size in found.values() if isinstance(size, str)]
    return {photo: size for photo, size in found.items() if not isinstance(size, str)}


def on_photos(lines: Iterable[Line], sizes: Mapping[str, tuple[int, int]], faults: list[str]) -> Iterator[Line]:
    """The lines whose box has its centre in the photo, even if it reaches over the edge; others are faults."""
    for line in lines:
        if line.photo not in sizes:
            continue
        width, height = sizes[line.photo]
        left, top, right, bottom = line.box
        if 0 < (left + right) / 2 < width and 0 < (top + bottom) / 2 < height:
            yield line
        else:
            faults.append(f"{line.where}: box {_text(line.box)} lies outside the photo of {width} × {height} pixels")


def list_line(photo: str, box: Box, points: Points | None) -> str:
    """One line of a ready list; reading it gives the same numbers."""
    values = [0.0] if points is None else [value for point in points for value in point]
    return f"{photo} {_text([*box, *values])}"


def _text(values: Iterable[float]) -> str:
    return " ".join(f"{value:.0f}" if value == int(value) else repr(value) for value in map(float, values))
