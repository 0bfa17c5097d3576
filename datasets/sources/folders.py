"""Image files in class folders, with or without split folders above them: found, named, split and checked.

Only `ImageFiles.read` decodes. Names are brought to Unicode's NFC form, so that the same tree splits alike everywhere.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from core.metrics import SPLITS
from datasets.base import DataError, DatasetSettings, Record, Row, Source
from datasets.sources.names import relative_name
from datasets.splits import hash_split

EXTENSIONS = (".jpg", ".jpeg", ".png")
SPLIT_FOLDERS = {"train": "train", "validation": "val", "val": "val", "valid": "val", "test": "test"}
LAYOUT = (
    "CLASS/*.jpg (or .jpeg, .png, in any case), or train/CLASS/*.jpg, test/CLASS/*.jpg and, if there is one, "
    "validation/CLASS/*.jpg (or val/, valid/)"
)


Side = Annotated[int, Field(ge=1, le=4096)]


class ImageFiles(DatasetSettings):
    """A set of image files below one folder, each resized to a square without keeping its aspect ratio."""

    place_fields: ClassVar[frozenset[str]] = frozenset({"path"})

    path: str
    """below the data root, or any folder of the user's; empty = the data root itself"""
    image_size: Side
    """height and width after resizing, pixels"""

    def read(self, source: Source, row: Row) -> Record:
        """The image of one row, decoded and resized."""
        from datasets.sources.image_decoding import image_record

        return image_record(source.files[row.path], *source.image_shape[:2])


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
class ImageFile:
    """One image file of a class folder."""

    path: str
    file: Path
    class_name: str
    split: str | None


def class_folder_source(
    root: Path, image_shape: tuple[int, int, int], seed: int, test: float = 0.2, validation: float = 0.15
) -> Source:
    """The rows and the faults of a tree of class folders, classes in the order of their names.

    Splits on disk are kept; what is missing is taken out of the training images, see `complete_splits`.
    """
    images, faults = find_images(root)
    classes = tuple(sorted({image.class_name for image in images}))
    labels = {name: label for label, name in enumerate(classes)}
    splits = complete_splits([(image.path, image.split) for image in images], seed, test, validation)
    rows = [Row(image.path, labels[image.class_name], split) for image, split in zip(images, splits, strict=True)]
    return Source(
        root=root,
        classes=classes,
        image_shape=image_shape,
        rows=tuple(rows),
        files={image.path: image.file for image in images},
        faults=(*faults, *class_faults(root, classes, rows)),
    )


def complete_splits(
    given: Sequence[tuple[str, str | None]], seed: int, test: float = 0.2, validation: float = 0.15
) -> list[str]:
    """The split of every (name, split given by its source or None).

    Given splits are kept; a test or validation split that the source lacks is taken out of the training rows by
    `hash_split`: `test` is a share of all of them, `validation` of the rest.
    """
    present = {split for _, split in given}
    rates = {"test": 0 if "test" in present else test, "validation": 0 if "val" in present else validation}
    return [split if split in ("val", "test") else hash_split(name, seed, **rates) for name, split in given]


def find_images(root: Path) -> tuple[list[ImageFile], list[str]]:
    """(every image of the tree in the order of names, the tree's faults).

    Symbolic links are followed; hidden files, other extensions and deeper folders are not looked at.
    """
    faults: list[str] = []
    folders = [entry for entry in _entries(root, faults) if entry.is_dir()]
    split_of = {folder.name: SPLIT_FOLDERS.get(folder.name.lower()) for folder in folders}
    has_splits = "train" in split_of.values() and (len(set(split_of.values()) - {None}) > 1 or len(folders) == 1)
    if not has_splits:
        return [p for folder in folders for p in _images(root, folder.path, None, faults)], faults
    faults += _split_faults(root, split_of)
    images = []
    for folder in folders:
        split = split_of[folder.name]
        classes = [entry for entry in _entries(Path(folder.path), faults) if entry.is_dir()] if split else []
        if split and not classes:
            faults.append(f"{folder.path}: holds no class folders; expected {folder.name}/CLASS/*.jpg")
        images += [p for entry in classes for p in _images(root, entry.path, split, faults)]
    return images, faults


def _entries(folder: Path, faults: list[str]) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as found:
            visible = [entry for entry in found if not entry.name.startswith(".") and entry.name != "__MACOSX"]
    except OSError as error:
        faults.append(f"{folder}: cannot be read ({error.strerror or error})")
        return []
    return sorted(visible, key=lambda entry: entry.name)


def _images(root: Path, folder: str, split: str | None, faults: list[str]) -> list[ImageFile]:
    n_faults = len(faults)
    images = []
    for entry in _entries(Path(folder), faults):
        if not entry.name.lower().endswith(EXTENSIONS) or entry.is_dir():
            continue
        file = Path(entry.path)
        if (path := relative_name(file, root, faults)) is not None:
            images.append(ImageFile(path, file, path.split("/")[-2], split))
    if not images and len(faults) == n_faults:
        faults.append(f"{folder}: empty class folder; pictures end in {', '.join(EXTENSIONS)} (in any case)")
    return images


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
    """Faults that make training or evaluation on these rows impossible; `root` is only named in them."""
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
