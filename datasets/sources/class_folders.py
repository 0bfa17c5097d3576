"""Class folders, with or without split folders above them: which pictures they hold, of which class and split.

Names are brought to Unicode's NFC form, so that the same tree splits alike everywhere.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from core.splits import SPLITS
from datasets.sources.names import below, composed, relative_name
from datasets.sources.pictures import FORMATS, RUN, Skipped, listed, pictures_below, visible

_SPLIT = re.compile(r"(train(?:ing)?|val(?:id|idation)?|test(?:ing)?)(?:[ _-]?(?:set|data|images))?", re.IGNORECASE)
SPLIT_NAMES = "train, training, val, valid, validation, test, testing, also with _set, _data or _images, in any case"
SPLIT_COLUMNS = ("split", "subset", "partition", "set", "usage")
"""what the column of the splits may be called; those after the first only where they hold nothing but split names"""
LAYOUT = f"CLASS/*.jpg ({FORMATS}), or train/CLASS/*.jpg, test/CLASS/*.jpg and, if there is one, validation/CLASS/*.jpg"

BESIDE = "beside the class folders, in none"
NO_SPLIT = "in folders that are no split by their name"
BY_NAME = "not found by dataset.split_rule = by_name"
_BY_NAME_EXTENSIONS = (".jpg", ".jpeg", ".png")


def split_called(name: str) -> str | None:
    """train, val or test, if a folder or a list's cell of this name means one."""
    found = _SPLIT.fullmatch(name.strip())
    return {"tr": "train", "va": "val", "te": "test"}[found[1][:2].lower()] if found else None


@dataclass(frozen=True)
class ImageFile:
    """One picture of a class folder."""

    path: str
    """below the data set's folder, in NFC form, unless two files are one name in that form"""
    file: Path
    class_name: str
    split: str | None
    direct: bool
    """whether it lies right in its class's folder"""


@dataclass
class Tree:
    """What `find_images` found below `root`."""

    root: Path
    by_name: bool = False
    """as `split_rule` by_name finds them: .jpg, .jpeg and .png right in the class folders"""
    images: list[ImageFile] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    skipped: Skipped = field(default_factory=Skipped)
    folders_of: Counter[str] = field(default_factory=Counter)
    """how many folders have a class's name, where Unicode writes it in several ways"""

    def add_class(self, folder: Path, split: str | None) -> None:
        """Take the pictures of a class folder; a fault where there are none."""
        name, before = composed(folder.name), (len(self.faults), self.skipped.of(RUN))
        found = list(self._pictures(folder, name, split))
        self.images += found
        self.folders_of["/".join((split or "", name))] += 1
        if not found and before == (len(self.faults), self.skipped.of(RUN)):
            self.faults.append(
                f"{folder}: empty class folder: no {FORMATS} in it or below it; every folder here is a class: put "
                "pictures into it, remove it, or begin its name with a dot, and it is skipped"
            )

    def _pictures(self, folder: Path, name: str, split: str | None) -> Iterator[ImageFile]:
        for file in pictures_below(folder, self.faults, self.skipped):
            direct = len(below(file, folder)) == 1
            if self.by_name and not (direct and file.name.lower().endswith(_BY_NAME_EXTENSIONS)):
                self.skipped.add(BY_NAME, file.suffix.lower() if direct else relative(file.parent, self.root))
            elif (path := relative_name(file, self.root, self.faults)) is not None:
                yield ImageFile(path, file, name, split, direct)

    def notes(self) -> list[str]:
        """What the audit says of the tree."""
        told = self.skipped.sentences()
        if deep := Counter(relative(image.file.parent, self.root) for image in self.images if not image.direct):
            told.append(f"{deep.total()} pictures lie in folders below their class's folder: {listed(deep)}")
        twice = [(name.lstrip("/"), n) for name, n in self.folders_of.items() if n > 1]
        told += [f"{n} folders are called {name} in several forms of Unicode, and are one class" for name, n in twice]
        return told


def relative(file: Path, root: Path) -> str:
    return composed("/".join(below(file, root)))


def find_images(root: Path, by_name: bool = False) -> Tree:
    """Every picture of a tree in the order of names, its faults, and what is not read."""
    tree = Tree(root, by_name)
    folders, files = visible(root, tree.faults, tree.skipped)
    for entry in files:
        tree.skipped.add(BESIDE, entry.name)
    split_of = {folder.name: split_called(folder.name) for folder in folders}
    if "train" in split_of.values() and (len(set(split_of.values()) - {None}) > 1 or len(folders) == 1):
        tree.faults += _split_faults(root, split_of)
        for folder in folders:
            _add_split(tree, Path(folder.path), split_of[folder.name])
    else:
        for folder in folders:
            tree.add_class(Path(folder.path), None)
        tree.faults += _unlike_classes(tree, [name for name, split in split_of.items() if split])
    if not by_name:
        names = Counter(image.path for image in tree.images)
        tree.images = [
            image if names[image.path] == 1 else replace(image, path="/".join(below(image.file, root)))
            for image in tree.images
        ]
    return tree


def _add_split(tree: Tree, folder: Path, split: str | None) -> None:
    if split is None:
        for file in pictures_below(folder, tree.faults, tree.skipped):
            tree.skipped.add(NO_SPLIT, relative(file.parent, tree.root))
        return
    classes, files = visible(folder, tree.faults, tree.skipped)
    for entry in files:
        tree.skipped.add(BESIDE, entry.name)
    if not classes:
        tree.faults.append(f"{folder}: holds no class folders; expected {folder.name}/CLASS/*.jpg")
    for entry in classes:
        tree.add_class(Path(entry.path), split)


def _split_faults(root: Path, split_of: dict[str, str | None]) -> Iterator[str]:
    for split in SPLITS:
        names = sorted(name for name, own in split_of.items() if own == split)
        if len(names) > 1:
            yield f"{root}: {' and '.join(names)} both hold the {split} split; keep one of them"
    train = next(name for name, split in split_of.items() if split == "train")
    classes = {entry.name for entry in visible(root / train, [], Skipped())[0]}
    for name in sorted(name for name, split in split_of.items() if split is None):
        if any(entry.name in classes for entry in visible(root / name, [], Skipped())[0]):
            yield f"{root / name}: holds class folders, but is no split by its name; allowed: {SPLIT_NAMES}"


def _unlike_classes(tree: Tree, names: Sequence[str]) -> Iterator[str]:
    """A fault for a class folder that is called like a split and holds folders of pictures, as a split does."""
    for name in names:
        own = [image for image in tree.images if image.class_name == composed(name)]
        folders = sorted({below(image.file, tree.root)[1] for image in own})
        if not any(image.direct for image in own) and len(folders) > 1:
            like = f"called like a split, with folders ({', '.join(folders[:3])}, …) in it like a split's classes"
            needs = f"as a split it needs one called train (allowed: {SPLIT_NAMES}), as a class another name"
            yield f"{tree.root / name}: {like}, but beside it there are no other splits; {needs}"
