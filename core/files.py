"""Atomic writes, and temporary files and folders that the next start removes where their process was killed.

An atomic write fills a temporary file, flushes it to disk and renames it, so that a kill leaves no partial file. What
is temporary is held by a lock (flock) that the system lets go of however its process ends. What a start removes is this
user's, made on this machine, and not held; no symlink is followed, and nothing that fails here ends a command.

A digest tells whether a file is as it was written. A checkpoint ends with its own, stored as the comment of the zip
file that torch writes; other files' digests stand in the run's records.
"""

import errno
import fcntl
import os
import platform
import re
import shutil
import stat
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO

from core.errors import PlanError

MARK = ".vision-ablation"  # in a folder: whose it is, and the lock
SCRATCH = "vision-ablation-"  # how the names of folders begin
PART = re.compile(r"\..+\.\d+\.part")  # names of `part_of`
DIGEST = 16
TAIL = 2 + DIGEST  # the comment's length, the comment
CHECKPOINT = ".pt"
Place = Callable[[Path, Path], object]


class OutsideError(PlanError):
    """A path that leads out of the folder in which it must lie."""


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


@contextmanager
def scratch(prefix: str = SCRATCH, base: Path | None = None) -> Iterator[Path]:
    """A `marked` folder in `base` (default: TMPDIR); those of killed processes whose names begin so are removed."""
    place = base or Path(tempfile.gettempdir())
    remove_marked(place, prefix)
    with marked(Path(tempfile.mkdtemp(prefix=prefix, dir=place))) as folder:
        yield folder


@contextmanager
def marked(folder: Path) -> Iterator[Path]:
    """A folder that is removed after the block, or by `remove_marked` once this process was killed."""
    lock = None
    with suppress(OSError):  # where there are no locks, nobody else removes it
        lock = os.open(folder / MARK, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.write(lock, "\n".join(_machine()).encode())  # only now it counts
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


@cache
def remove_marked(base: Path, prefix: str) -> threading.Thread:
    """Begin to remove, beside the work of this process, the marked folders in `base` whose processes are gone."""

    def remove() -> None:
        with suppress(OSError):
            for folder in base.iterdir():
                if folder.name.startswith(prefix):
                    with suppress(OSError):
                        _remove(folder)

    thread = threading.Thread(target=remove, name="leftovers", daemon=True)
    thread.start()
    return thread


def _remove(folder: Path) -> None:
    """Remove a folder if it is marked, this user's and not held; OSError where it cannot be."""
    with _opened(folder, os.O_RDONLY | os.O_DIRECTORY) as inside:
        if os.fstat(inside).st_uid != os.getuid():
            return
        with _opened(MARK, os.O_RDWR, inside) as mark:
            if not _free(mark) or not _machine() & set(os.read(mark, 4096).decode(errors="replace").split("\n")):
                return
            for entry in os.scandir(inside):
                if entry.is_dir(follow_symlinks=False):
                    shutil.rmtree(entry.name, ignore_errors=True, dir_fd=inside)
                elif entry.name != MARK:
                    os.unlink(entry.name, dir_fd=inside)
            os.unlink(MARK, dir_fd=inside)  # last, so that what a second kill leaves is still marked
    folder.rmdir()


@contextmanager
def part_of(path: Path) -> Iterator[Path]:
    """A hidden, empty file beside `path` to be written and put in its place; it is gone after the block."""
    part = path.with_name(f".{path.name}.{threading.get_native_id()}.part")
    part.unlink(missing_ok=True)  # of an earlier thread of this number
    held = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with suppress(OSError):
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield part
    finally:
        os.close(held)
        part.unlink(missing_ok=True)


def remove_parts(folder: Path, below: bool = False) -> None:
    """Remove the files of `part_of` in a folder, and `below` it, whose processes are gone."""
    if folder.is_symlink():
        return
    for here, folders, names in os.walk(folder):
        for name in filter(PART.fullmatch, names):
            part = Path(here, name)
            with suppress(OSError), _opened(part, os.O_RDWR) as file:
                if _free(file):
                    part.unlink()
        if not below:
            folders.clear()


@contextmanager
def _opened(path: str | Path, flags: int, folder: int | None = None) -> Iterator[int]:
    """A file descriptor; OSError for a symlink."""
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _free(file: int) -> bool:
    """Whether a file is one of this user's that no process holds; it is held then."""
    status = os.fstat(file)
    if status.st_uid != os.getuid() or not stat.S_ISREG(status.st_mode):
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@cache
def _machine() -> frozenset[str]:
    """Names of this machine, on which its locks hold: its own, which it keeps, and that of its boot, which containers
    share."""
    found = {platform.node()}
    with suppress(OSError):
        found.add(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
    return frozenset(found - {""})


def seal(path: Path) -> None:
    """Write a digest of the zip file over the length of its empty comment, as its comment."""
    with path.open("r+b") as file:
        digest = _digest(file, path.stat().st_size - 2)
        file.write(DIGEST.to_bytes(2, "little") + digest)


def whole(path: Path) -> bool:
    """Whether a checkpoint is as it was saved; OSError where it cannot be read."""
    with path.open("rb") as file:
        digest = _digest(file, path.stat().st_size - TAIL)
        return file.read() == DIGEST.to_bytes(2, "little") + digest


def known_digest(path: Path) -> str:
    """The digest of a file as records hold it, in hex: of a checkpoint the one that it ends with, unchecked."""
    with path.open("rb") as file:
        size = path.stat().st_size
        if path.suffix == CHECKPOINT:
            file.seek(max(0, size - DIGEST))
            return file.read().hex()
        return _digest(file, size).hex()


def found_digest(path: Path) -> str | None:
    """`known_digest` of a file, empty for a checkpoint that is not whole or what cannot be read; None if it is gone."""
    try:
        return "" if path.suffix == CHECKPOINT and not whole(path) else known_digest(path)
    except FileNotFoundError:
        return None
    except OSError:
        return None if not path.exists() else ""


def _digest(file: BinaryIO, size: int) -> bytes:
    """The digest of the file's next `size` bytes, which are read."""
    digest = blake2b(digest_size=DIGEST)
    while size > 0 and (chunk := file.read(min(size, 2**20))):
        digest.update(chunk)
        size -= len(chunk)
    return digest.digest()
