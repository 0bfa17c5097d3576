"""Atomic writes: a temporary file is filled, flushed to disk and renamed, so that a kill leaves no partial file."""

import os
from collections.abc import Callable
from pathlib import Path

from core.leftovers import part_of

Place = Callable[[Path, Path], object]


def rename(temporary: Path, path: Path) -> None:
    temporary.replace(path)


def write_atomically(path: Path, write: Callable[[Path], object], place: Place = rename) -> None:
    """Let `write` fill a temporary file, flush it and `place` it at `path`; on any error `path` stays as it was.

    Folders are made. The temporary file is a hidden one beside `path`, which a later start removes after a kill.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with part_of(path) as temporary:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        place(temporary, path)


def write_text(path: Path, text: str, place: Place = rename) -> None:
    """`write_atomically` of a text in UTF-8."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"), place=place)


def user_cache(folder: Path | None = None) -> Path:
    """Where files that can be made again are kept: `folder`, $CACHE_DIR, or the user's own cache; not made."""
    own = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "vision-ablation"
    return Path(folder or os.environ.get("CACHE_DIR") or own).expanduser().resolve()
