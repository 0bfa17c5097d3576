"""Data sets of image files: their settings, their class folders as rows of a source, the splits that are drawn."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import Field

from core import ROOT
from core.splits import SPLITS
from datasets.base import DataError, DatasetSettings, Record, Regex, Resize, Row, Shape, Source
from datasets.sources.class_folders import BESIDE, LAYOUT, Tree, find_images
from datasets.sources.groups import Groups, groups_by
from datasets.sources.pictures import is_picture
from datasets.splits import grouped_split, hash_split, shares_with_one_each, stratified_split

ARCHIVES = (".zip", ".tar", ".tgz", ".gz", ".bz2", ".xz", ".zst", ".rar", ".7z")
Side = Annotated[int, Field(ge=1, le=4096)]


class ImageFiles(DatasetSettings):
    """A set of image files below one folder, each resized to a square."""

    place_fields: ClassVar[frozenset[str]] = frozenset({"path"})
    unrecorded: ClassVar[dict[str, Any]] = {"split_rule": "by_name", "group_regex": "", "resize": "stretch"}

    path: str
    """below the data root, or any folder of the user's; empty = the data root itself"""
    image_size: Side
    """height and width after resizing, pixels"""
    resize: Resize = "stretch"
    """how a picture becomes a square: `stretch` does not keep its aspect ratio, `crop` takes the central square of the
    picture whose shorter side is resized, `pad` resizes the longer side and leaves black beside it"""
    group_regex: Regex = ""
    """pictures in whose paths this finds the same text (its first group, else all of the match) fall into the same
    split, as those of one patient or camera; a path in which it finds nothing is refused; empty = each by itself"""
    split_rule: Literal["stratified", "by_name"] = "stratified"
    """`stratified` reads pictures of any format and depth and a list's split column, and draws what no one gave as
    exact shares of each class; `by_name`, as runs begun before this setting did, reads .jpg, .jpeg and .png files right
    in class folders, ignores such a column, and splits by a hash of each name"""

    def read(self, source: Source, row: Row) -> Record:
        """The image of one row, decoded and resized."""
        from datasets.sources.image_decoding import image_record

        return image_record(source.files[row.path], *source.image_shape[:2], self.resize)


def find_folder(path: str, data_root: Path | None, layout: str) -> Path:
    """The absolute folder that `path` means: below the data root if it is there, else as the shell would take it.

    Raises DataError saying where it was looked for, which name is near and which layout is expected.
    """
    given = Path(path).expanduser()
    tried = [base / given for base in (data_root, Path.cwd()) if base is not None and (path or base == data_root)]
    for folder in tried:
        if folder.is_dir():
            return folder.absolute()
    asked = f"dataset.path = {path!r}, --data-root {data_root}"
    if file := next((part for folder in tried for part in (folder, *folder.parents) if part.is_file()), None):
        archive = file.suffix.lower() in ARCHIVES
        what = "an archive; unpack it and name the folder that comes out" if archive else "a file; name a folder"
        raise DataError(f"{file}: is {what} ({asked}); expected layout: {layout}")
    near = {folder.parent for folder in tried if folder.parent.is_dir() and folder.parent != ROOT}
    names = [entry.name for base in near for entry in base.iterdir() if entry.is_dir()]
    close = get_close_matches(given.name, names, n=1)
    places = " or ".join(dict.fromkeys(str(folder) for folder in tried))
    raise DataError(
        f"no such folder: {places} ({asked}){f'; did you mean {close[0]}?' if close else ''}; expected layout: {layout}"
    )


def class_folder_source(
    root: Path, image_shape: Shape, settings: ImageFiles, test: float = 0.2, validation: float = 0.15
) -> Source:
    """The rows and the faults of a tree of class folders, classes in the order of their names.

    Splits on disk are kept; what is missing is taken out of the training images, see `classified`.
    """
    tree = find_images(root, settings.split_rule == "by_name")
    named = [(image.class_name, Row(image.path, 0, image.split or "")) for image in tree.images]
    found = classified(named, settings, test, validation)
    return Source(
        root=root,
        classes=found.classes,
        image_shape=image_shape,
        rows=found.rows,
        files={image.path: image.file for image in tree.images},
        faults=(
            *(*tree.faults, *found.faults),
            *class_faults(root, found.classes, found.rows),
            *_advice(tree, found.classes),
        ),
        notes=(*tree.notes(), *found.notes),
        counts=tree.skipped.counts,
        facts={"splits": found.splits},
    )


class Classified(NamedTuple):
    """Rows with their labels and splits."""

    classes: tuple[str, ...]
    rows: tuple[Row, ...]
    splits: str
    """where the splits are from, in words"""
    faults: tuple[str, ...]
    """of the groups"""
    notes: tuple[str, ...]


def classified(
    named: Sequence[tuple[str, Row]],
    settings: ImageFiles,
    test: float = 0.2,
    validation: float = 0.15,
    order: Callable[[str], Any] = str,
    groups: Groups | None = None,
) -> Classified:
    """The rows with the labels of the classes they are named with, which are put in `order`, and with their splits.

    A row comes with the split that its source gives it, or "". Given splits are kept; a test or validation split that
    the source lacks is taken out of the training rows by `settings.split_rule`: `test` is a share of all of them,
    `validation` of the rest. Rows of one of the `groups`, by default those of `settings.group_regex`, share a split.
    """
    classes = tuple(sorted({name for name, _ in named}, key=order))
    number = {name: label for label, name in enumerate(classes)}
    rows = [replace(row, label=number[name]) for name, row in named]
    groups = groups or groups_by(settings.group_regex, [row.path for row in rows])
    present = {row.split for row in rows}
    shares = {split: 0.0 if split in present else share for split, share in (("test", test), ("val", validation))}
    free = [row for row in rows if row.split not in ("val", "test")]
    faults = (*groups.faults, *groups.straddling(rows), *groups.too_few(free, sum(map(bool, shares.values()))))
    drawn = dict(zip((row.path for row in free), _drawn(free, settings, groups, shares), strict=True))
    rows = [replace(row, split=drawn.get(row.path, row.split)) for row in rows]
    how = _origin(present, shares, settings.split_rule, groups, rows)
    return Classified(classes, tuple(rows), how, faults, groups.notes(rows))


def _drawn(rows: Sequence[Row], settings: ImageFiles, groups: Groups, shares: Mapping[str, float]) -> list[str]:
    """The split of each row that its source gives none, or training."""
    seed, test, validation = settings.split_seed, shares["test"], shares["val"]
    labels = [row.label for row in rows]
    if settings.split_rule == "by_name":
        return [hash_split(groups.key(row.path), seed, test, validation) for row in rows]
    if groups.of:
        return grouped_split([groups.key(row.path) for row in rows], labels, seed, test, validation)
    keys = [row.path for row in rows]
    return stratified_split(keys, labels, seed, test, validation, sizes=shares_with_one_each)


def _origin(present: set[str], shares: Mapping[str, float], rule: str, groups: Groups, rows: Sequence[Row]) -> str:
    n = Counter(row.split for row in rows)
    among = {"test": len(rows), "val": n["train"] + n["val"]}
    kept = [split for split in SPLITS if split in present]
    drawn = [f"{split} {100 * share:.3g} %" for split, share in shares.items() if share]
    if len(drawn) > 1:
        drawn[-1] += " of the rest"
    from_ = " of the training pictures" if kept else ""
    if groups.of:
        came = (f"{split} {100 * n[split] / max(1, among[split]):.3g} %" for split, share in shares.items() if share)
        from_ += f" by {len(groups.among([row for row in rows if row.split == 'train' or shares[row.split]]))} groups"
        drawn[-1:] = [f"{drawn[-1]}, which came to {', '.join(came)}"] if drawn else []
    told = [f"{', '.join(kept)} as given"] if kept else []
    if groups.of and not drawn:
        told[-1] += f", each of {len(groups.among(rows))} groups within one"
    return "; ".join(told + ([f"drawn{from_}, {rule}: {', '.join(drawn)}"] if drawn else []))


def _advice(tree: Tree, classes: Sequence[str]) -> list[str]:
    """What to do about a tree with one class or none."""
    if not classes:
        loose = [name for name in tree.skipped.reasons.get(BESIDE, ()) if is_picture(tree.root / name)]
        packed = [name for name in tree.skipped.reasons.get(BESIDE, ()) if name.lower().endswith(ARCHIVES)]
        return [
            *([f"{tree.root}: {len(loose)} pictures lie in no folder; make one for each class"] if loose else []),
            *(f"{tree.root / name}: is an archive; unpack it" for name in packed),
        ]
    folders = sorted({image.path.split("/")[1] for image in tree.images if not image.direct and image.split is None})
    if len(classes) > 1 or len(folders) < 2:
        return []
    inner = tree.root / classes[0]
    return [f"{inner}: holds folders ({', '.join(folders[:3])}); if they are the classes, name this one: {inner}"]


def class_faults(root: Path, classes: Sequence[str], rows: Sequence[Row], layout: str = LAYOUT) -> Iterator[str]:
    """Faults that make training or evaluation on these rows impossible; `root` is only named in them."""
    if len(classes) < 2:
        found = f"only the class {classes[0]}" if classes else "no pictures in class folders"
        yield f"{root}: {found}; at least two classes are needed, as {layout}"
    present = {(row.label, row.split) for row in rows}
    for label, name in enumerate(classes):
        if (label, "train") not in present:
            where = " and ".join(split for split in ("test", "val") if (label, split) in present)
            lacks = f"class {name} has no training pictures{f', only {where}' * bool(where)}"
            yield f"{root}: {lacks}; add some (or, where splits are drawn, change dataset.split_seed)"
    for split in ("val", "test"):
        if rows and split not in {split for _, split in present}:
            yield f"{root}: no pictures in the {split} split, {len(rows)} in all; add some"
