"""Reads and writes files at a URL, atomically and with retries.

An object store takes a file all or nothing; elsewhere it is written under a temporary name and moved. A failure that
outlasts the retries is a `StorageError`, which stops a run as a full disk does.
"""

import random
import shutil
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from uuid import uuid4

from core.errors import DISK, StorageError, first_line
from core.files import part_of

PATIENCE = 90.0  # seconds for which a failing operation is retried
PAUSES = (1.0, 32.0)  # seconds between attempts: the first pause, and the longest after doubling
ALL_OR_NOTHING = ("s3", "gcs", "abfs")
CHUNK = 2**22


@lru_cache(maxsize=8)
def opened(url: str) -> tuple[Any, str]:
    """(file system, root) of a URL, from pyarrow or, if its package is installed, fsspec; any exception otherwise.

    Cached for the process, as opening a bucket requests its region.
    """
    import pyarrow as pa
    from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem

    known = url
    if url.startswith(("gs://", "gcs://")) and "retry_limit_seconds" not in url:
        known += ("&" if "?" in url else "?") + "retry_limit_seconds=30"  # its own default is 15 minutes
    try:
        filesystem, root = FileSystem.from_uri(known)
        if filesystem.type_name == "s3":  # one request instead of three per small file
            rebuild, (options,) = filesystem.__reduce__()
            filesystem = rebuild({**options, "allow_delayed_open": True})
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        if "Unrecognized filesystem type" not in str(error) and "without" not in str(error):
            raise
        from fsspec.core import url_to_fs

        found, root = url_to_fs(url)
        filesystem = PyFileSystem(FSSpecHandler(found))
    return filesystem, root.rstrip("/")


class Store:
    """Files below a URL, by their names relative to it."""

    def __init__(self, url: str, patient: bool = True) -> None:
        self.url, self.patient = url, patient
        self._made: set[str] = set()

    def put(self, name: str, source: Path | bytes) -> None:
        def work(filesystem: Any, path: str) -> None:
            at_once = filesystem.type_name in ALL_OR_NOTHING
            folder, _, last = path.rpartition("/")
            if not at_once and folder not in self._made:
                filesystem.create_dir(folder, recursive=True)
                self._made.add(folder)
            aside = path if at_once else f"{folder}/.{last}.part"
            with filesystem.open_output_stream(aside) as stream:
                if isinstance(source, bytes):
                    stream.write(source)
                else:
                    with source.open("rb") as file:
                        shutil.copyfileobj(file, stream, CHUNK)
            if not at_once:
                filesystem.move(aside, path)

        self._try("written", name, work)

    def read(self, name: str, last: int | None = None) -> bytes | None:
        """The file, or its last bytes; None where there is none."""

        def work(filesystem: Any, path: str) -> bytes | None:
            try:
                with filesystem.open_input_file(path) as file:
                    file.seek(max(0, file.size() - last) if last else 0)
                    return bytes(file.read())
            except FileNotFoundError:
                return None

        return self._try("read", name, work)

    def get(self, name: str, target: Path, whole: Callable[[Path], bool] = lambda path: True) -> None:
        """Copy an existing file to `target`, atomically, and only if `whole` accepts the copy."""

        def work(filesystem: Any, path: str) -> None:
            target.parent.mkdir(parents=True, exist_ok=True)
            with part_of(target) as part:
                with filesystem.open_input_file(path) as stream, part.open("wb") as file:
                    shutil.copyfileobj(stream, file, CHUNK)
                if whole(part):
                    part.replace(target)

        self._try("read", name, work)

    def files(self, folder: str) -> list[str]:
        """Names of all files below a folder, except those still being written."""
        return list(self.sizes(folder))

    def sizes(self, folder: str) -> dict[str, int]:
        """Bytes of each of these `files`, by name."""

        def work(filesystem: Any, path: str) -> dict[str, int]:
            from pyarrow.fs import FileSelector, FileType

            found = filesystem.get_file_info(FileSelector(path, allow_not_found=True, recursive=True))
            below = {info.path.partition(f"{path.strip('/')}/")[2]: info for info in found}
            return {
                f"{folder}/{name}": info.size
                for name, info in below.items()
                if info.type == FileType.File and not PurePosixPath(name).name.startswith(".")
            }

        return self._try("listed", folder, work)

    def move(self, name: str, target: str) -> None:
        """Rename a file; no-op if it is gone, as after a successful attempt whose answer was lost."""

        def work(filesystem: Any, path: str) -> None:
            if self._there(filesystem, path):
                filesystem.move(path, path.removesuffix(name) + target)

        self._try("moved", name, work)

    def delete(self, name: str) -> None:
        def work(filesystem: Any, path: str) -> None:
            if self._there(filesystem, path):
                filesystem.delete_file(path)

        self._try("deleted", name, work)

    def has(self, name: str) -> bool:
        return self._try("read", name, self._there)

    @staticmethod
    def _there(filesystem: Any, path: str) -> bool:
        from pyarrow.fs import FileType

        return filesystem.get_file_info(path).type == FileType.File

    def _try(self, done: str, name: str, work: Callable[[Any, str], Any]) -> Any:
        began, (pause, longest) = time.monotonic(), PAUSES
        while True:
            try:
                filesystem, root = opened(self.url)
                return work(filesystem, f"{root}/{name}")
            except Exception as error:  # each file system raises its own
                self._made.clear()
                if isinstance(error, OSError) and error.errno in DISK:
                    raise
                if not self.patient or time.monotonic() - began > PATIENCE:
                    raise StorageError(f"{self.url}: {name} cannot be {done} ({first_line(error)[:300]})") from error
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, longest)


def unwritable(url: str) -> str | None:
    """Why files cannot be written and deleted at a URL; None if they can."""
    store, probe = Store(url, patient=False), f"probe-{uuid4().hex}"
    try:
        store.put(probe, b"")
        store.delete(probe)
    except OSError as error:
        return str(error)
    return None
