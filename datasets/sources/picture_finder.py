"""Where the pictures that a table names lie on this machine."""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from core.value_words import LONGEST, cut, listed
from datasets.base import DataError
from datasets.sources.names import composed, file_of
from datasets.sources.pictures import EXTENSIONS


@dataclass(frozen=True)
class PictureFinder:
    """Finds the pictures of a table."""

    root: Path
    """absolute: what paths are relative to"""
    other: Path | None
    """where else a relative path may lead"""
    stems: dict[Path, dict[str, list[str]]] = field(default_factory=dict)

    def find(self, text: str) -> tuple[str, Path]:
        """(name of the row, file); DataError says why there is none.

        Absolute paths are taken, relative ones up to the folders of the table, its pictures and the data root.
        """
        if any(ord(character) < 32 for character in text):
            raise DataError(f"the path {cut(text, LONGEST)!r} holds a line break or another control character")
        try:
            return self._found(text, composed(text.replace("\\", "/")))
        except OSError as error:  # a name of more bytes than there can be, or a folder that may not be read
            raise DataError(f"{cut(text, LONGEST)!r} cannot be looked for ({error.strerror or error})") from None

    def _found(self, text: str, given: str) -> tuple[str, Path]:
        file = self.root / given
        if ".." not in given and file.is_relative_to(self.root) and file.is_file():
            return file.relative_to(self.root).as_posix(), file  # nearly all
        if re.match(r"[A-Za-z]:/", given):
            raise DataError(f"{text!r} is a Windows path; write paths relative to the table, or see dataset.image_root")
        bases = [base for base in (self.root, self.other) if base is not None]
        normal = [Path(os.path.normpath(base / given)) for base in bases]
        if not given.startswith("/") and not any(file.is_relative_to(base) for file in normal for base in bases):
            raise DataError(f"{text!r} leaves the folder {self.root}; name the pictures' folder by dataset.image_root")
        for base, file in zip(bases, normal, strict=True):
            for real in (file_of(base, given), self._completed(file)):
                if real is not None and real.is_file():
                    return self._name(Path(os.path.normpath(real))), real
        raise DataError(f"no such picture: {normal[0]}{self._hint(normal[0])}")

    def _name(self, file: Path) -> str:
        """The same on every machine, but for a file outside of the pictures' folder and the data root."""
        if self.other is not None and file.is_relative_to(self.other):
            return composed(os.path.relpath(file, self.root))
        return composed((file.relative_to(self.root) if file.is_relative_to(self.root) else file).as_posix())

    def _folder(self, folder: Path) -> dict[str, list[str]]:
        if folder not in self.stems:
            names: dict[str, list[str]] = {}
            for entry in sorted(folder.iterdir()) if folder.is_dir() else []:
                names.setdefault(composed(entry.stem).casefold(), []).append(entry.name)
            self.stems[folder] = names
        return self.stems[folder]

    def _completed(self, file: Path) -> Path | None:
        """The one picture of a name without its extension, or of one in another form of Unicode."""
        if file.is_file():
            return None
        names = self._folder(file.parent).get(composed(file.stem).casefold(), [])
        own = [name for name in names if composed(name) == file.name]
        if not own and not file.name.lower().endswith(EXTENSIONS):
            names = self._folder(file.parent).get(composed(file.name).casefold(), [])
            found = [Path(name) for name in names if name.lower().endswith(EXTENSIONS)]
            own = [each.name for each in found if composed(each.stem) == file.name]
        return file.parent / own[0] if len(own) == 1 else None

    def _hint(self, file: Path) -> str:
        if not file.parent.is_dir():
            return ""
        known = self._folder(file.parent)
        alike = [*known.get(composed(file.stem).casefold(), []), *known.get(composed(file.name).casefold(), [])]
        return f"; there is {listed(sorted(set(alike)), 3)}" if alike else ""
