"""The pictures in and below a folder, known by their content, and a count of everything that is not read."""

import os
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

FORMATS = "JPEG, PNG, WebP, BMP, TIFF or GIF"
EXTENSIONS = (".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif")
"""files of these names are pictures, or faults where they cannot be decoded; of others the first bytes decide"""
_BEGINNING = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|GIF8[79]a|II[*+]\0|MM\0[*+]"
    rb"|BM.{4}\0{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0\0\0",
    re.DOTALL,
)
_RAW = (".arw", ".cr2", ".dng", ".nef", ".nrw", ".pef", ".srw")  # begin as TIFF does, and hold a camera's raw values
_RUN = {"study.json", "log.jsonl"}

HIDDEN = "hidden"
NO_PICTURE = f"no {FORMATS} by their content"
RUN = "run directories of this program"
LOOP = "links back to a folder above them"
SPECIAL = "neither files nor folders"
SHOWN = 3


@dataclass
class Skipped:
    """What is not read: by reason, how often which name or extension."""

    reasons: dict[str, Counter[str]] = field(default_factory=dict)

    def add(self, reason: str, what: str, n: int = 1) -> None:
        """Count `n` files or folders."""
        self.reasons.setdefault(reason, Counter())[what.encode(errors="replace").decode()] += n

    def of(self, reason: str) -> int:
        return self.reasons.get(reason, Counter()).total()

    @property
    def counts(self) -> dict[str, int]:
        return {f"skipped: {reason}": found.total() for reason, found in self.reasons.items()}

    def sentences(self) -> list[str]:
        """One a reason, with the most frequent names."""
        return [
            f"not read, as they are {reason}: {found.total()} ({listed(found)})"
            for reason, found in sorted(self.reasons.items())
        ]


def listed(found: "Counter[str]") -> str:
    """`12 .txt, 2 .heic and 3 others`: how often each of the most frequent stands there."""
    most = sorted(found.items(), key=lambda item: (-item[1], item[0]))[:SHOWN]
    others = found.total() - sum(n for _, n in most)
    return ", ".join(f"{n} {name}" for name, n in most) + (f" and {others} others" if others else "")


def visible(
    folder: Path | str, faults: list[str], skipped: Skipped
) -> tuple[list["os.DirEntry[str]"], list["os.DirEntry[str]"]]:
    """(the folders, the files) in a folder by name; what is neither, hidden, or a run directory's counts as skipped.

    A link to nothing is a file, as its name may be a picture's. A fault where the folder cannot be read.
    """
    try:
        with os.scandir(folder) as scanned:
            found = sorted(scanned, key=lambda entry: entry.name)
    except OSError as error:
        faults.append(f"{folder}: cannot be read ({error.strerror or error})")
        return [], []
    if {entry.name for entry in found} >= _RUN:
        skipped.add(RUN, Path(folder).name)
        return [], []
    folders, files = [], []
    for entry in found:
        link = Path(entry.path) if entry.is_symlink() else None  # the entry itself raises for a link to itself
        if entry.name.startswith(".") or entry.name == "__MACOSX":
            skipped.add(HIDDEN, entry.name)
        elif entry.is_dir(follow_symlinks=False) or (link and link.is_dir()):
            folders.append(entry)
        elif entry.is_file(follow_symlinks=False) or (link and (link.is_file() or not link.exists())):
            files.append(entry)
        else:
            skipped.add(SPECIAL, entry.name)
    return folders, files


def pictures_below(
    folder: Path | str, faults: list[str], skipped: Skipped, above: frozenset[str] = frozenset()
) -> Iterator[Path]:
    """The pictures in a folder, then those below it; symbolic links are followed."""
    here = above | {os.path.realpath(folder)}
    folders, files = visible(folder, faults, skipped)
    for entry in files:
        if is_picture(file := Path(entry.path)):
            yield file
        else:
            skipped.add(NO_PICTURE, Path(entry.name).suffix.lower() or entry.name)
    for entry in folders:
        if os.path.realpath(entry.path) in here:
            skipped.add(LOOP, entry.name)
        else:
            yield from pictures_below(entry.path, faults, skipped, here)


def is_picture(file: Path) -> bool:
    """Whether a file is read: by its extension or, where that is no picture's, by its first bytes."""
    name = file.name.lower()
    if name.endswith(EXTENSIONS):
        return True
    if name.endswith(_RAW):
        return False
    try:
        with file.open("rb") as stream:
            return _BEGINNING.match(stream.read(18)) is not None
    except OSError:
        return False
