"""Atomic writes: a temporary file is filled, flushed to disk and renamed, so that a kill leaves no partial file."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from core.errors import PlanError

Place = Callable[[Path, Path], object]


class OutsideError(PlanError):
    """A path that leads out of the folder in which it must lie."""


def rename(temporary: Path, path: Path) -> None:
    temporary.replace(path)


def write_atomically(
    path: Path, write: Callable[[Path], object], aside: Path | None = None, place: Place = rename
) -> None:
    """Let `write` fill a temporary file, flush it and `place` it at `path`; on any error `path` stays as it was.

    Folders are made. The temporary file is `aside` or, by default, a hidden file beside `path` with the process id.
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


def user_cache(folder: Path | None = None) -> Path:
    """Where files that can be made again are kept: `folder`, $CACHE_DIR, or the user's own cache; not made."""
    own = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "vision-ablation"
    return Path(folder or os.environ.get("CACHE_DIR") or own).expanduser().resolve()


def inside(folder: Path, *names: str) -> Path:
    """The path of a file below `folder`, whose names a record or a listing of the folder gave; nothing need exist.

    OutsideError where a name is none, or a link on the way leads out of the folder.
    """
    path = folder.joinpath(*names)
    if any(name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name for name in names):
        raise OutsideError(f"{folder}: {'/'.join(names)!r:.100} is no name of a file in it")
    real = path.resolve()
    if not real.is_relative_to(folder.resolve()):
        raise OutsideError(f"{path}: leads to {real}, out of {folder}; nothing is read or written there")
    return path


def links_out(folder: Path) -> Iterator[Path]:
    """Links below `folder`, at any depth, that lead out of it. No link is followed."""
    root = folder.resolve()
    for place, folders, files in os.walk(folder):
        links = (path for name in (*folders, *files) if (path := Path(place, name)).is_symlink())
        yield from (path for path in links if not path.resolve().is_relative_to(root))
