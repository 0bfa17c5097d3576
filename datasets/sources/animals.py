"""Photos of animals in class folders, or as a list `animal_data.csv` of paths, labels and, if it has them, splits.

A photo has the same name, and so the same split, whether it was found in its folder or in the list.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from core.component import did_you_mean
from datasets.base import DataError, Row, Shape, Source
from datasets.sources.class_folders import SPLIT_COLUMNS, SPLIT_NAMES, Tree, find_images, split_called
from datasets.sources.folders import ImageFiles, Side, class_faults, class_folder_source, classified, find_folder
from datasets.sources.names import composed, file_of, inside, leaves
from datasets.splits import shuffled

CSV = "animal_data.csv"
LAYOUT = f"CLASS/*.jpg, or {CSV} with the columns path,label (and, if it gives the splits, split) beside the photos"


class Animals(ImageFiles):
    """Class folders of photos, or animal_data.csv (path,label[,split]); test 20 %, validation 15 % of the rest."""

    name: Literal["animals"] = "animals"
    path: str = "animals"
    image_size: Side = 224

    def source(self, data_root: Path | None) -> Source:
        """The rows of the list where there is one, else the tree; faults of the list name its lines."""
        root = find_folder(self.path, data_root, LAYOUT)
        shape = (3, self.image_size, self.image_size)
        return (_csv_source if (root / CSV).exists() else class_folder_source)(root, shape, self)


def write_csv(settings: Animals, data_root: Path | None, folder: Path) -> Path:
    """Writes the class folders as a shuffled `animal_data.csv` (path,label; labels are names) and returns its path.

    Where folders give the splits, a column `split` does so too. The paths are relative to the folder of the photos:
    there the list is read instead of the tree, and gives the same data. Raises DataError with the tree's faults, or
    where another list stands already.
    """
    root = find_folder(settings.path, data_root, LAYOUT)
    source = class_folder_source(root, (3, 1, 1), settings)
    if source.faults:
        raise DataError(source.faults)
    images = find_images(root, settings.split_rule == "by_name").images
    rows = [images[i] for i in shuffled([image.path for image in images], settings.split_seed)]
    has_splits = any(image.split for image in images)
    lines = [("path", "label", "split")[: 2 + has_splits]]
    lines += [(row.path, row.class_name, row.split or "")[: 2 + has_splits] for row in rows]
    file = folder / CSV
    if file.exists():
        raise DataError(f"{file}: is there already; remove it or name another folder")
    folder.mkdir(parents=True, exist_ok=True)
    with file.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream, lineterminator="\n").writerows(lines)
    return file


def _csv_source(root: Path, image_shape: Shape, settings: Animals) -> Source:
    faults: list[str] = []
    by_name = settings.split_rule == "by_name"
    tree = find_images(root, by_name)
    known, table = _class_folders(tree), _table(root / CSV, faults)
    column = None if by_name else _split_column(table)
    named = list(_named(root, table, column, known, faults))
    in_folders = known or all(label in row.path.split("/")[:-1] for label, row in named)
    found = classified(named, settings, order=_natural if by_name or not in_folders else str)
    unread = [name for name in table[0] if name not in ("path", "label", column)]
    left_out = len({image.path for image in tree.images} - {row.path for row in found.rows})
    return Source(
        root=root,
        classes=found.classes,
        image_shape=image_shape,
        rows=found.rows,
        files={CSV: root / CSV, **{row.path: file_of(root, row.path) for row in found.rows}},
        faults=(*faults, *found.faults, *class_faults(root / CSV, found.classes, found.rows)),
        notes=(
            *([f"{CSV}: not read: column {', '.join(unread)}"] if unread else []),
            *([f"{left_out} pictures in the folders stand in no line of {CSV}"] if left_out else []),
            *found.notes,
        ),
        counts={"not listed": left_out},
        facts={"splits": found.splits + (f"; given by column {column} of {CSV}" if column else "")},
    )


_Table = tuple[list[str], list[tuple[int, list[str]]]]
"""the header in lower case; the number and the cells of the other lines that are not blank"""


def _table(file: Path, faults: list[str]) -> _Table:
    """The table of a file; an empty one without the columns path and label."""
    rows: list[tuple[int, list[str]]] = []
    header: list[str] = []
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.reader(stream)
            header = [name.strip().lower() for name in next(reader, [])]
            if not {"path", "label"} <= set(header):
                faults.append(f"{file}:1: expected the columns path,label, found {','.join(header) or 'nothing'}")
                return [], []
            for cells in reader:
                stripped = [cell.strip() for cell in cells]
                if any(stripped):
                    rows.append((reader.line_num, stripped))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        faults.append(f"{file}: cannot be read ({error})")
    return header, rows


def _split_column(table: _Table) -> str | None:
    """The column that says which split a line belongs to: `split` itself, or another whose every cell is a split."""
    header, rows = table
    for name in SPLIT_COLUMNS:
        if name in header:
            place = header.index(name)
            cells = [cells[place] for _, cells in rows if place < len(cells)]
            if any(cells) and (name == SPLIT_COLUMNS[0] or all(map(split_called, cells))):
                return name
    return None


def _named(
    root: Path, table: _Table, column: str | None, known: Sequence[str], faults: list[str]
) -> Iterator[tuple[str, Row]]:
    """(class, row without label) of the lines without faults, their paths, labels and splits normalised."""
    header, lines = table
    seen: dict[str, int] = {}
    for number, cells in lines:
        where = f"{root / CSV}:{number}"
        if len(cells) != len(header):
            faults.append(f"{where}: {len(cells)} columns, where the header has {len(header)}")
            continue
        given = dict(zip(header, cells, strict=True))
        path, split = inside(given["path"]), split_called(given[column]) if column else ""
        label = _label(composed(given["label"]), path or "", known)
        if label is None:
            faults.append(f"{where}: unknown label {given['label']!r}; {did_you_mean(given['label'], known)}")
        if column and split is None:
            faults.append(f"{where}: unknown split {given[column]!r}; allowed: {SPLIT_NAMES}, or nothing in all lines")
        if path is None:
            faults.append(f"{where}: {leaves(given['path'])}")
        elif not file_of(root, path).is_file():
            faults.append(f"{where}: no such picture: {root / path}")
        elif path in seen:
            faults.append(f"{where}: {path} stands in line {seen[path]} already")
        elif label is not None:
            seen[path] = number
            yield label, Row(path, 0, split or "")


def _label(text: str, path: str, known: Sequence[str]) -> str | None:
    """The class that a label names, by name or by its number in the order of names; any text where none are known."""
    if not known:
        return text or None
    if text in known or text in path.split("/")[:-1]:
        return text
    return known[int(text)] if text.isascii() and text.isdigit() and int(text) < len(known) else None


def _class_folders(tree: Tree) -> list[str]:
    """Names of the folders that hold images: the labels there can be. Empty when the photos lie otherwise."""
    names = {image.class_name for image in tree.images if image.direct and not (tree.by_name and image.split)}
    return sorted(names) if len(names) > 1 else []


def _natural(label: str) -> tuple[int, str]:
    return (int(label), "") if label.isascii() and label.isdigit() else (-1, label)
