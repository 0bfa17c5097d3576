"""Atomic writes: a temporary file is filled, flushed to disk and renamed, so that a kill leaves no partial file."""

import errno
import os
import stat
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

    OutsideError where a name is none, where a link on the way leads out of the folder, and where there is neither a
    file nor a folder: to open a named pipe would wait for ever.
    """
    path = folder.joinpath(*names)
    if any(name in ("", ".", "..") or "/" in name or "\\" in name or "\0" in name for name in names):
        raise OutsideError(f"{folder}: {'/'.join(names)!r:.100} is no name of a file in it")
    # Of pathlib's `resolve`, links in a circle are a RuntimeError.
    real = os.path.realpath(path)
    if not Path(real).is_relative_to(os.path.realpath(folder)):
        raise OutsideError(f"{path}: leads to {real}, out of {folder}; nothing is read or written there")
    if _is_unfit(path):
        raise OutsideError(f"{path}: is neither a file nor a folder; nothing is read or written there")
    return path


def _is_unfit(path: Path) -> bool:
    """Whether a pipe, a device or a socket is there, or a link that leads in a circle."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return error.errno == errno.ELOOP
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def unfit(folder: Path) -> Iterator[Path]:
    """What below `folder`, at any depth, is neither a file nor a folder, or a link out of it. No link is followed."""
    root = os.path.realpath(folder)
    for place, folders, files in os.walk(folder):
        for path in (Path(place, name) for name in (*folders, *files)):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                if not Path(os.path.realpath(path)).is_relative_to(root) or _is_unfit(path):
                    yield path
            elif not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                yield path
