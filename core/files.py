"""Files that are whole or absent, whatever is killed while they are written: filled aside, flushed to disk, renamed."""

import os
from collections.abc import Callable
from pathlib import Path

Place = Callable[[Path, Path], object]


def rename(temporary: Path, path: Path) -> None:
    temporary.replace(path)


def write_atomically(
    path: Path,
    write: Callable[[Path], object],
    aside: Path | None = None,
    place: Place = rename,
) -> None:
    """Let `write` fill a temporary file, flush it and `place` it at `path`; on any error `path` stays as it was.

    Folders are made. Unless `aside` names another, the temporary file lies beside `path`, hidden and named by process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = aside or path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        place(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str, place: Place = rename) -> None:
    """`write_atomically` of a text in UTF-8."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), place=place)
