"""Files at a URL, put there whole; whatever fails is tried again for a while.

An object store takes a file all or nothing; elsewhere it is written aside and moved. What fails for long is a
`StorageError`, which stops a run as a full disk does.
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

PATIENCE = 90.0  # seconds after which a failure is no longer tried again
PAUSES = (1.0, 32.0)  # seconds between attempts: the first pause, and where doubling ends
ALL_OR_NOTHING = ("s3", "gcs", "abfs")
CHUNK = 2**22


@lru_cache(maxsize=8)
def opened(url: str) -> tuple[Any, str]:
    """(file system, root) of a URL that pyarrow knows or, where its package is installed, fsspec; any exception else.

    To open a bucket is to ask for its region, so it is done once a process.
    """
    import pyarrow as pa
    from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem

    known = url
    if url.startswith(("gs://", "gcs://")) and "retry_limit_seconds" not in url:
        known += ("&" if "?" in url else "?") + "retry_limit_seconds=30"  # its own default is 15 minutes
    try:
        filesystem, root = FileSystem.from_uri(known)
        if filesystem.type_name == "s3":  # a request instead of three for each small file
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
        """Copy a file that is there to `target`, in one step, and only if it came `whole`."""

        def work(filesystem: Any, path: str) -> None:
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = target.with_name(f".{target.name}.{time.time_ns()}")
            try:
                with filesystem.open_input_file(path) as stream, temporary.open("wb") as file:
                    shutil.copyfileobj(stream, file, CHUNK)
                if whole(temporary):
                    temporary.replace(target)
            finally:
                temporary.unlink(missing_ok=True)

        self._try("read", name, work)

    def files(self, folder: str) -> list[str]:
        """Names of all files below a folder, but for those that are being written."""

        def work(filesystem: Any, path: str) -> list[str]:
            from pyarrow.fs import FileSelector, FileType

            found = filesystem.get_file_info(FileSelector(path, allow_not_found=True, recursive=True))
            below = (info.path.partition(f"{path.strip('/')}/")[2] for info in found if info.type == FileType.File)
            return [f"{folder}/{name}" for name in below if not PurePosixPath(name).name.startswith(".")]

        return self._try("listed", folder, work)

    def move(self, name: str, target: str) -> None:
        """Give a file another's name and place; nothing where it is gone, as after an attempt whose answer was lost."""

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
    """Why nothing can be written at a URL, or deleted there."""
    store, probe = Store(url, patient=False), f"probe-{uuid4().hex}"
    try:
        store.put(probe, b"")
        store.delete(probe)
    except OSError as error:
        return str(error)
    return None
