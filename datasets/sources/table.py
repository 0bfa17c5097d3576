"""Pictures named in a table, a row each, with a label and, where it has the columns, a split and a group.

The table says what is read, line by line; nothing else in its folder counts.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from hashlib import blake2b
from pathlib import Path
from typing import ClassVar, Literal

from core.component import did_you_mean
from core.value_words import listed
from datasets.base import DataError, Record, Row, Source
from datasets.sources.class_folders import SPLIT_COLUMNS, SPLIT_NAMES, split_called
from datasets.sources.folders import Classified, ImageFiles, Side, class_faults, classified, find_folder
from datasets.sources.groups import Groups, few
from datasets.sources.names import composed
from datasets.sources.picture_finder import PictureFinder
from datasets.sources.table_file import SUFFIXES, TextTable, read_table

LAYOUT = "a .csv, .tsv or .parquet file with a column of paths and one of labels (and, if you like, split and group)"
NONE = "none"
GUESSES = {
    "path": (
        *("path", "file", "filename", "file_name", "filepath", "file_path", "photo", "picture"),
        *("image", "image_path", "image_file", "image_name", "image_id", "img", "img_path"),
    ),
    "label": ("label", "labels", "class", "class_name", "target", "category"),
    "split": SPLIT_COLUMNS,
    "group": (
        *("group", "group_id", "patient", "patient_id", "subject", "subject_id"),
        *("person", "person_id", "camera", "camera_id"),
    ),
}
"""by role, what its column may be called where no setting names it; case, blanks and hyphens do not matter"""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_MISSING = ("na", "n/a", "nan", "none", "null", "?")


class Table(ImageFiles):
    """Pictures named by a table (.csv, .tsv, .parquet) with labels, and splits and groups where it has such columns."""

    place_fields: ClassVar[frozenset[str]] = ImageFiles.place_fields | {
        *("image_root", "path_column", "label_column", "split_column", "group_column"),
    }

    name: Literal["table"] = "table"
    path: str = "labels.csv"
    """the table's file, below the data root or any of the user's"""
    image_size: Side = 64
    channels: Literal[1, 3] = 3
    """1 = grey, 3 = RGB"""
    image_root: str = ""
    """the folder that the table's paths are relative to; empty = the table's own, else the data root"""
    path_column: str = ""
    """the column of the pictures' paths; empty = guessed by its name, which `prepare` tells"""
    label_column: str = ""
    """the column of the classes, text or whole numbers; empty = guessed by its name"""
    split_column: str = ""
    """the column that says train, validation or test; empty = guessed by its name, `none` = splits are drawn"""
    group_column: str = ""
    """the column of the groups that no split tears apart, as patients; empty = guessed by its name, `none` = none"""
    split_rule: Literal["stratified", "by_name"] = "stratified"
    """how splits are drawn that the table does not give: `stratified`, as exact shares of each class as groups allow;
    `by_name`, by a hash of each path or group, so that a new one moves no other"""

    def source(self, data_root: Path | None) -> Source:
        """The rows of the table; faults name its lines."""
        table = read_table(_find_file(self.path, data_root))
        columns = _Columns.of(table, self)
        if columns.faults:
            raise DataError([*columns.faults, *few(table.faults)])
        root = find_folder(self.image_root, data_root, "pictures") if self.image_root else table.file.parent
        elsewhere = None if self.image_root or data_root is None else Path(os.path.normpath(data_root.absolute()))
        finder = PictureFinder(Path(os.path.normpath(root)), elsewhere)
        faults = _Faults()
        named, files, groups = _read(table, columns, finder, faults)
        order = _whole if all(re.fullmatch(r"[+-]?\d+", label) for label, _ in named) else str
        found = classified(named, self, order=order, groups=groups)
        rows = found.rows
        content = json.dumps([[row.path, found.classes[row.label], row.split] for row in rows])
        return Source(
            root=root,
            classes=found.classes,
            image_shape=(self.channels, self.image_size, self.image_size),
            rows=rows,
            files=files,
            content=blake2b(content.encode(), digest_size=16).hexdigest(),
            faults=(
                *few(table.faults),
                *faults,
                *found.faults,
                *_whole_faults(table, found, faults, root),
            ),
            notes=(*_notes(named), *found.notes),
            facts={"columns": columns.told, "splits": found.splits + columns.given},
            listed=True,
        )

    def read(self, source: Source, row: Row) -> Record:
        """The decoded and resized image; a fault names the line too."""
        try:
            return super().read(source, row)
        except DataError as error:
            where = f"{row.where}: " if isinstance(row, TableRow) else ""
            raise DataError([f"{where}{fault}" for fault in error.faults]) from error


@dataclass(frozen=True)
class TableRow(Row):
    """A row that faults name by its line."""

    where: str = ""


def _find_file(path: str, data_root: Path | None) -> Path:
    """The absolute file that `path` means: below the data root if it is there, else as the shell would take it."""
    given = Path(path).expanduser()
    tried = [base / given for base in (data_root, Path.cwd()) if base is not None and path]
    asked = f"dataset.path = {path!r}, --data-root {data_root}"
    for file in tried:
        if file.is_file():
            if file.suffix.lower() in SUFFIXES:
                return file.absolute()
            raise DataError(f"{file}: is none of {', '.join(SUFFIXES)}; save the table as one of them ({asked})")
    folders = [file for file in tried if file.is_dir()]
    near = folders or [file.parent for file in tried if file.parent.is_dir()]
    names = sorted({entry.name for base in near for entry in base.iterdir() if entry.suffix.lower() in SUFFIXES})
    if folders:
        holds = f"; it holds {listed(names, 5)}" if names else ""
        raise DataError(f"{folders[0]}: is a folder; name the table in it{holds} ({asked})")
    close = get_close_matches(given.name, names, n=1)
    places = " or ".join(dict.fromkeys(map(str, tried))) or "dataset.path is empty"
    hint = f"; did you mean {close[0]}?" if close else ""
    raise DataError(f"no such table: {places} ({asked}){hint}; expected layout: {LAYOUT}")


class _Faults:
    """Faults of a table's lines by their kind: the first of each, and how many more."""

    def __init__(self) -> None:
        self.kinds: dict[str, list[str]] = {}

    def add(self, kind: str, text: str) -> None:
        self.kinds.setdefault(kind, []).append(text)

    def __iter__(self) -> Iterator[str]:
        return (fault for found in self.kinds.values() for fault in few(found))


@dataclass(frozen=True)
class _Columns:
    """Which column has which role, by its place in the header."""

    places: Mapping[str, int]
    told: str
    """in words, for `prepare`"""
    given: str
    """what gives the splits, in words"""
    faults: tuple[str, ...]

    @classmethod
    def of(cls, table: TextTable, settings: Table) -> "_Columns":
        asked = {role: getattr(settings, f"{role}_column") for role in GUESSES}
        if settings.group_regex and not asked["group"]:
            asked["group"] = NONE
        found = {role: _matching(table, role, name) for role, name in asked.items()}
        faults = [fault for role, name in asked.items() if (fault := _column_fault(table, role, name, found[role]))]
        places = {role: own[0] for role, own in found.items() if len(own) == 1}
        uses: dict[int, list[str]] = {}
        for role, place in places.items():
            uses.setdefault(place, []).append(role)
        faults += [
            f"column {table.header[place]!r} cannot be the {' and the '.join(roles)}; name them by dataset.ROLE_column"
            for place, roles in uses.items()
            if len(roles) > 1
        ]
        if settings.group_regex and "group" in places:
            faults.append(f"dataset.group_regex stands beside dataset.group_column = {asked['group']!r}; give one")
        told = [
            f"{role} = {table.header[places[role]] + ' (guessed)' * (not name) if role in places else NONE}"
            for role, name in asked.items()
        ]
        unread = [name for i, name in enumerate(table.header) if i not in uses]
        told += [f"not read: {', '.join(unread)}"] if unread else []
        given = f"; given by column {table.header[places['split']]}" if "split" in places else ""
        return cls(places, "; ".join(told), given, tuple(f"{table.where(1)}: {fault}" for fault in faults))


def _column_fault(table: TextTable, role: str, asked: str, found: Sequence[int]) -> str | None:
    """Why no single column has a role."""
    known = [table.header[place] for place in found]
    setting = f"dataset.{role}_column"
    if len(set(map(_folded, known))) == 1 < len(known):
        return f"the column {known[0]!r} stands {len(known)} times; rename one"
    if len(known) > 1:
        return f"{' and '.join(known)} may each be the column of the {role}; name one by {setting}"
    if not known and asked and asked != NONE:
        return f"no column {asked!r} ({setting}); {did_you_mean(asked, table.header)}"
    if not known and role in ("path", "label"):
        return f"no column has a usual name of a {role} column; name it by {setting}: {', '.join(table.header)}"
    return None


def _matching(table: TextTable, role: str, asked: str) -> list[int]:
    """The places of the columns that a setting names, or that may have a role by their names."""
    places = range(len(table.header))
    if asked == NONE and role in ("split", "group") and NONE not in table.header:
        return []
    if asked:
        return [i for i in places if table.header[i] == asked] or [
            i for i in places if _folded(table.header[i]) == _folded(asked)
        ]
    found = [i for i in places if _folded(table.header[i]) in GUESSES[role]]
    if role != "split":
        return found
    cells = {i: [record[i] for _, record in table.records] for i in found}
    exact = [i for i in found if _folded(table.header[i]) == SPLIT_COLUMNS[0]]
    return [i for i in found if any(cells[i]) and (i in exact or all(map(split_called, cells[i])))]


def _folded(name: str) -> str:
    return re.sub(r"[\s-]+", "_", composed(name).strip().casefold())


def _read(
    table: TextTable, columns: _Columns, finder: PictureFinder, faults: _Faults
) -> tuple[list[tuple[str, Row]], dict[str, Path], Groups | None]:
    """((class, row) of each record without a fault; file by name; groups, where there is a column of them)."""
    named, files, groups, seen = (
        list[tuple[str, Row]](),
        dict[str, Path](),
        dict[str, str](),
        dict[str, tuple[str, str]](),
    )
    for line, cells in table.records:
        where = table.where(line)
        given = {role: composed(cells[place]) for role, place in columns.places.items()}
        split = split_called(given["split"]) if "split" in given else ""
        before = sum(map(len, faults.kinds.values()))
        for role, text in given.items():
            if not text:
                faults.add(
                    f"empty {role}", f"{where}: the {role} is empty (column {table.header[columns.places[role]]})"
                )
        if any(ord(character) < 32 for character in given["label"]):
            faults.add(
                "label", f"{where}: the label {given['label']!r} holds a line break or another control character"
            )
        if split is None and given["split"]:
            faults.add("split", f"{where}: unknown split {given['split']!r}; allowed: {SPLIT_NAMES}")
        try:
            path, file = finder.find(given["path"]) if given["path"] else ("", Path())
        except DataError as error:
            faults.add("path", f"{where}: {error}")
            continue
        if path and path in seen:
            label, first = seen[path]
            as_ = "" if label == given["label"] else f" with the label {label!r}, here with {given['label']!r}"
            faults.add(f"twice{bool(as_)}", f"{where}: {path} stands in {first.rpartition('/')[2]} already{as_}")
        if before == sum(map(len, faults.kinds.values())):
            seen[path] = (given["label"], where)
            named.append((given["label"], TableRow(path, 0, split or "", where=where)))
            files[path] = file
            groups[path] = given.get("group", "")
    _check_labels(named, faults)
    if "group" not in columns.places:
        return named, files, None
    source = f"column {table.header[columns.places['group']]}"
    return named, files, Groups(groups, source, where=lambda row: row.where if isinstance(row, TableRow) else row.path)


def _check_labels(named: Sequence[tuple[str, Row]], faults: _Faults) -> None:
    """A class is text or a whole number, and a number is written in one way."""
    first: dict[str, Row] = {}
    for label, row in named:
        first.setdefault(label, row)
    numbers = {label: float(label) for label in first if _NUMBER.fullmatch(label)}
    broken = [label for label, value in numbers.items() if not value.is_integer()]
    if broken and len(numbers) == len(first):
        what = f"{len(broken)} of {len(first)} labels are fractions; a class is text or a whole number"
        faults.add("fraction", f"{_line(first[broken[0]])}: the label {broken[0]!r}: {what}")
    known: dict[float, str] = {}
    for label, value in numbers.items():
        if (other := known.setdefault(value, label)) != label:
            same = f"{label!r} is the number that {_line(first[other])} writes as {other!r}"
            faults.add("number", f"{_line(first[label])}: the label {same}; write it in one way")


def _line(row: Row) -> str:
    return row.where if isinstance(row, TableRow) else row.path


def _whole(label: str) -> int:
    return int(label)


def _whole_faults(table: TextTable, found: Classified, faults: _Faults, root: Path) -> Iterator[str]:
    """What makes the readable rows together no data set."""
    if found.rows:
        yield from class_faults(table.file, found.classes, found.rows, LAYOUT)
    elif not table.records:
        yield f"{table.file}: holds no rows below its header"
    elif faults.kinds.get("path"):
        yield f"none of the table's pictures is found from {root}; name their folder by dataset.image_root"


def _notes(named: Sequence[tuple[str, Row]]) -> Iterator[str]:
    """Labels that their user may not mean as they are read."""
    counts = Counter(label for label, _ in named)
    for label, n in counts.items():
        if label.casefold() in _MISSING:
            yield f"the label {label!r} is a class like any other ({n} pictures)"
    alike: dict[str, list[str]] = {}
    for label in sorted(counts):
        alike.setdefault(label.casefold(), []).append(label)
    for same in alike.values():
        if len(same) > 1:
            yield f"the labels {' and '.join(map(repr, same))} differ in case alone, and are {len(same)} classes"
