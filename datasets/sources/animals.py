"""Photos of animals in class folders, or as a list `animal_data.csv` of paths and labels.

A photo has the same name, and so the same split, whether it was found in its folder or in the list.
"""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal

from core.component import did_you_mean
from datasets.base import DataError, Row, Source
from datasets.sources.folders import (
    EXTENSIONS,
    ImageFiles,
    Side,
    class_faults,
    class_folder_source,
    complete_splits,
    find_folder,
)
from datasets.sources.names import file_of, inside, leaves
from datasets.splits import shuffled

CSV = "animal_data.csv"
LAYOUT = f"CLASS/*.jpg (or .jpeg, .png), or {CSV} with the columns path,label beside the photos"


class Animals(ImageFiles):
    """Class folders of photos, or animal_data.csv (path,label); test 20 %, validation 15 % of the rest."""

    name: Literal["animals"] = "animals"
    path: str = "animals"
    image_size: Side = 224

    def source(self, data_root: Path | None) -> Source:
        """The rows of the list where there is one, else the tree; faults of the list name its lines."""
        root = find_folder(self.path, data_root, LAYOUT)
        shape = (3, self.image_size, self.image_size)
        if (root / CSV).exists():
            return _csv_source(root, shape, self.split_seed)
        return class_folder_source(root, shape, self.split_seed)


def write_csv(settings: Animals, data_root: Path | None, folder: Path) -> Path:
    """Writes the class folders as a shuffled `animal_data.csv` (path,label; labels are names) and returns its path.

    The paths are relative to the folder of the photos: there the list is read instead of the tree. Raises DataError
    with the tree's faults, or where another list stands already.
    """
    source = class_folder_source(find_folder(settings.path, data_root, LAYOUT), (3, 1, 1), settings.split_seed)
    if source.faults:
        raise DataError(source.faults)
    rows = [source.rows[i] for i in shuffled([row.path for row in source.rows], settings.split_seed)]
    lines = [("path", "label"), *((row.path, source.classes[row.label]) for row in rows)]
    file = folder / CSV
    if file.exists():
        raise DataError(f"{file}: is there already; remove it or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(lines)
    return file


_Line = tuple[int, str, str]
"""number, path, label"""


def _csv_source(root: Path, image_shape: tuple[int, int, int], seed: int) -> Source:
    faults: list[str] = []
    known = _class_folders(root)
    lines = list(_checked(root, _lines(root / CSV, faults), known, faults))
    classes = tuple(sorted({label for _, _, label in lines}, key=_natural))
    splits = complete_splits([(path, None) for _, path, _ in lines], seed)
    rows = tuple(Row(path, classes.index(label), split) for (_, path, label), split in zip(lines, splits, strict=True))
    return Source(
        root=root,
        classes=classes,
        image_shape=image_shape,
        rows=rows,
        files={CSV: root / CSV, **{row.path: file_of(root, row.path) for row in rows}},
        faults=(*faults, *class_faults(root / CSV, classes, rows)),
    )


def _lines(file: Path, faults: list[str]) -> Iterator[_Line]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            header = [name.strip().lower() for name in next(reader, [])]
            if not {"path", "label"} <= set(header):
                faults.append(f"{file}:1: expected the columns path,label, found {','.join(header) or 'nothing'}")
                return
            for cells in reader:
                if not any(cell.strip() for cell in cells):
                    continue
                if len(cells) != len(header):
                    faults.append(f"{file}:{reader.line_num}: {len(cells)} columns, where the header has {len(header)}")
                    continue
                row = dict(zip(header, cells, strict=True))
                yield reader.line_num, row["path"].strip(), row["label"].strip()
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        faults.append(f"{file}: cannot be read ({error})")


def _checked(root: Path, lines: Iterable[_Line], known: Sequence[str], faults: list[str]) -> Iterator[_Line]:
    """The lines without faults, their paths and labels normalised."""
    seen: dict[str, int] = {}
    for number, name, text in lines:
        where = f"{root / CSV}:{number}"
        path, label = inside(name), _label(text, known)
        if label is None:
            faults.append(f"{where}: unknown label {text!r}; {did_you_mean(text, known)}")
        if path is None:
            faults.append(f"{where}: {leaves(name)}")
        elif not file_of(root, path).is_file():
            faults.append(f"{where}: no such picture: {root / path}")
        elif path in seen:
            faults.append(f"{where}: {path} stands in line {seen[path]} already")
        elif label is not None:
            seen[path] = number
            yield number, path, label


def _label(text: str, known: Sequence[str]) -> str | None:
    """The class that a label names, by name or by its number in the order of names; any text where none are known."""
    if not known:
        return text or None
    if text in known:
        return text
    return known[int(text)] if text.isascii() and text.isdigit() and int(text) < len(known) else None


def _class_folders(root: Path) -> list[str]:
    """Names of the folders that hold images: the labels there can be. Empty when the photos lie otherwise."""
    folders = [entry for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith(".")]
    names = [f.name for f in folders if any(e.name.lower().endswith(EXTENSIONS) for e in os.scandir(f.path))]
    return sorted(names) if len(names) > 1 else []


def _natural(label: str) -> tuple[int, str]:
    return (int(label), "") if label.isascii() and label.isdigit() else (-1, label)
