"""A storage that fails when it is told to: URLs faulty:///PATH lie on this disk, and reach it through fsspec."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from core import storage

Fault = Callable[[str, str], object]


class Faulty(LocalFileSystem):
    """Calls `fault(verb, path)` before every request that changes something; what that raises is the failure."""

    protocol = "faulty"
    cachable = False
    fault: ClassVar[Fault] = staticmethod(lambda verb, path: None)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        stripped = super()._strip_protocol
        return [stripped(p) for p in path] if isinstance(path, list) else stripped(path.removeprefix("faulty://"))

    def _open(self, path: str, mode: str = "rb", **options: Any) -> Any:
        if "w" in mode:
            type(self).fault("write", path)
        return super()._open(path, mode, **options)

    def mv(self, path1: str, path2: str, **options: Any) -> None:
        type(self).fault("move", path2)
        super().mv(path1, path2, **options)

    def rm(self, path: str, **options: Any) -> None:
        type(self).fault("delete", path)
        super().rm(path, **options)


fsspec.register_implementation("faulty", Faulty, clobber=True)


@contextmanager
def failing(fault: Fault) -> Iterator[None]:
    """The storage with this fault, and little patience with it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Faulty, "fault", staticmethod(fault))
        patch.setattr(storage, "PATIENCE", 0.5)
        patch.setattr(storage, "PAUSES", (0.01, 0.1))
        yield


def lost(verb: str, path: str) -> None:
    raise ConnectionResetError("the line is dead")


def url_of(folder: Path) -> str:
    return f"faulty://{folder}"
