"""File names in the user's annotation files: normalised, and kept inside the data set's folder."""

import posixpath
import re
import unicodedata
from pathlib import Path


def composed(name: str) -> str:
    """`name` in Unicode's NFC form, so that names that look alike are equal."""
    return unicodedata.normalize("NFC", name)


def inside(name: str, folder: str = "") -> str | None:
    """`name`, as written in a file in the sub-folder `folder`, as a path relative to the data set's folder.

    Either separator, Unicode's NFC form; None when it is absolute or leaves the data set's folder by "..". The check
    is one of names: symbolic links are the user's own and are followed.
    """
    given = composed(name.strip().replace("\\", "/"))
    if given.startswith("/") or re.match(r"[A-Za-z]:", given):
        return None
    path = posixpath.normpath(posixpath.join(folder, given))
    return None if path == ".." or path.startswith("../") else path


def leaves(name: str) -> str:
    """The fault of a name for which `inside` gives None."""
    return f"path {name!r} is absolute or leaves the data set's folder by '..'; name files below it"


def file_of(root: Path, path: str) -> Path:
    """The file of a name in NFC form; on disk the name may be decomposed (NFD), as older Apple systems wrote it."""
    decomposed = root / unicodedata.normalize("NFD", path)
    return decomposed if not (root / path).exists() and decomposed.exists() else root / path


def below(file: Path, root: Path) -> tuple[str, ...]:
    """The names of folders and file below `root`, where the file was found from there: a fast `relative_to`."""
    return file.parts[len(root.parts) :]


def relative_name(file: Path, root: Path, faults: list[str]) -> str | None:
    """`file` below `root` with forward slashes, in NFC form; None, and a fault, where the name is not valid UTF-8."""
    path = composed("/".join(below(file, root)))
    try:
        path.encode()
    except UnicodeEncodeError:
        faults.append(f"{file!r}: the name is not valid UTF-8; rename the file")
        return None
    return path
