"""Pictures in class folders, with or without split folders above them: found, named, split and checked.

Nothing is decoded here. Names are brought to Unicode's NFC form, so that the same tree splits alike on every system.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from core.metrics import SPLITS
from datasets.base import DataError, Row, Source
from datasets.names import relative_name
from datasets.splits import hash_split

EXTENSIONS = (".jpg", ".jpeg", ".png")
SPLIT_FOLDERS = {"train": "train", "validation": "val", "val": "val", "valid": "val", "test": "test"}
LAYOUT = (
    "CLASS/*.jpg (or .jpeg, .png, in any case), or train/CLASS/*.jpg, test/CLASS/*.jpg and, if there is one, "
    "validation/CLASS/*.jpg (or val/, valid/)"
)


def find_folder(path: str, data_root: Path | None, layout: str) -> Path:
    """The absolute folder that `path` means: below the data root if it is there, else as the shell would take it.

    Raises DataError saying where it was looked for, which name is near and which layout is expected.
    """
    given = Path(path).expanduser()
    tried = [base / given for base in (data_root, Path.cwd()) if base is not None and (path or base == data_root)]
    for folder in tried:
        if folder.is_dir():
            return folder.absolute()
    names = [entry.name for base in {folder.parent for folder in tried} if base.is_dir() for entry in base.iterdir()]
    close = get_close_matches(given.name, names, n=1)
    places = " or ".join(dict.fromkeys(str(folder) for folder in tried))
    raise DataError(
        f"no such folder: {places} (dataset.path = {path!r}, --data-root {data_root})"
        f"{f'; did you mean {close[0]}?' if close else ''}; expected layout: {layout}"
    )


@dataclass(frozen=True)
class Picture:
    """One picture file of a class folder."""

    path: str
    file: Path
    class_name: str
    split: str | None


def class_folder_source(
    root: Path, image_shape: tuple[int, int, int], seed: int, test: float = 0.2, validation: float = 0.15
) -> Source:
    """The rows and the faults of a tree of class folders, classes in the order of their names.

    Splits on disk are kept; what is missing is taken out of the training pictures, see `complete_splits`.
    """
    pictures, faults = find_pictures(root)
    classes = tuple(sorted({picture.class_name for picture in pictures}))
    labels = {name: label for label, name in enumerate(classes)}
    splits = complete_splits([(picture.path, picture.split) for picture in pictures], seed, test, validation)
    rows = [
        Row(picture.path, labels[picture.class_name], split) for picture, split in zip(pictures, splits, strict=True)
    ]
    return Source(
        root=root,
        classes=classes,
        image_shape=image_shape,
        rows=tuple(rows),
        files={picture.path: picture.file for picture in pictures},
        faults=(*faults, *class_faults(root, classes, rows)),
    )


def complete_splits(
    given: Sequence[tuple[str, str | None]], seed: int, test: float = 0.2, validation: float = 0.15
) -> list[str]:
    """The split of every (name, split that its source says or None).

    What the source says is kept, but for training rows where it has no test or validation at all: those are drawn out
    of them by `hash_split`, `test` of all of them, `validation` of the rest.
    """
    present = {split for _, split in given}
    rates = {"test": 0 if "test" in present else test, "validation": 0 if "val" in present else validation}
    return [split if split in ("val", "test") else hash_split(name, seed, **rates) for name, split in given]


def find_pictures(root: Path) -> tuple[list[Picture], list[str]]:
    """Every picture of the tree in the order of names, and what is wrong with the tree.

    Symbolic links are followed; hidden files, other extensions and deeper folders are not looked at.
    """
    faults: list[str] = []
    folders = [entry for entry in _entries(root, faults) if entry.is_dir()]
    split_of = {folder.name: SPLIT_FOLDERS.get(folder.name.lower()) for folder in folders}
    has_splits = "train" in split_of.values() and (len(set(split_of.values()) - {None}) > 1 or len(folders) == 1)
    if not has_splits:
        return [p for folder in folders for p in _pictures(root, folder.path, None, faults)], faults
    faults += _split_faults(root, split_of)
    pictures = []
    for folder in folders:
        split = split_of[folder.name]
        classes = [entry for entry in _entries(Path(folder.path), faults) if entry.is_dir()] if split else []
        if split and not classes:
            faults.append(f"{folder.path}: holds no class folders; expected {folder.name}/CLASS/*.jpg")
        pictures += [p for entry in classes for p in _pictures(root, entry.path, split, faults)]
    return pictures, faults


def _entries(folder: Path, faults: list[str]) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as found:
            visible = [entry for entry in found if not entry.name.startswith(".") and entry.name != "__MACOSX"]
    except OSError as error:
        faults.append(f"{folder}: cannot be read ({error.strerror or error})")
        return []
    return sorted(visible, key=lambda entry: entry.name)


def _pictures(root: Path, folder: str, split: str | None, faults: list[str]) -> list[Picture]:
    n_faults = len(faults)
    pictures = []
    for entry in _entries(Path(folder), faults):
        if not entry.name.lower().endswith(EXTENSIONS) or entry.is_dir():
            continue
        file = Path(entry.path)
        if (path := relative_name(file, root, faults)) is not None:
            pictures.append(Picture(path, file, path.split("/")[-2], split))
    if not pictures and len(faults) == n_faults:
        faults.append(f"{folder}: empty class folder; pictures end in {', '.join(EXTENSIONS)} (in any case)")
    return pictures


def _split_faults(root: Path, split_of: dict[str, str | None]) -> list[str]:
    faults = []
    for split in SPLITS:
        names = sorted(name for name, own in split_of.items() if own == split)
        if len(names) > 1:
            faults.append(f"{root}: {' and '.join(names)} both hold the {split} split; keep one of them")
    train = next(name for name, split in split_of.items() if split == "train")
    classes = {entry.name for entry in _entries(root / train, []) if entry.is_dir()}
    for name in sorted(name for name, split in split_of.items() if split is None):
        if any(entry.name in classes for entry in _entries(root / name, [])):
            known = ", ".join(SPLIT_FOLDERS)
            faults.append(f"{root / name}: holds class folders, but is no split by its name; allowed: {known}")
    return faults


def class_faults(root: Path, classes: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """What keeps these rows from being trained and judged on; `root` only names them."""
    faults = []
    if len(classes) < 2:
        found = f"only the class {classes[0]}" if classes else "no pictures in class folders"
        faults.append(f"{root}: {found}; at least two classes are needed, as {LAYOUT}")
    splits_of_class: dict[int, set[str]] = {label: set() for label in range(len(classes))}
    for row in rows:
        splits_of_class[row.label].add(row.split)
    for label, splits in splits_of_class.items():
        if "train" not in splits:
            where = " and ".join(sorted(splits))
            faults.append(
                f"{root}: class {classes[label]} has no training pictures, only {where}; "
                "add some (or, where splits are drawn, change dataset.split_seed)"
            )
    for split in ("val", "test"):
        if rows and not any(split in splits for splits in splits_of_class.values()):
            faults.append(f"{root}: no pictures in the {split} split, {len(rows)} in all; add some")
    return faults
