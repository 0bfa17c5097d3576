"""Files beside its modules that a user's code reads while it is loaded or called: copied and counted with it."""

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from core.definitions import LIBRARIES

_watching = threading.local()
_opened: dict[str, None] = {}
"""absolute paths, in the order in which they were opened"""


@contextmanager
def watched() -> Iterator[None]:
    """In the block, this thread's files that are opened for reading are noted."""
    _install()
    before = getattr(_watching, "now", False)
    _watching.now = True
    try:
        yield
    finally:
        _watching.now = before


def read_below(root: Path) -> list[Path]:
    """The files below a folder that were read, but for Python's own, hidden ones and those of installed packages."""
    found = []
    for name in [*_opened]:
        file = Path(name)
        if not file.is_relative_to(root) or file.suffix in (".py", ".pyc", ".so") or not file.is_file():
            continue
        hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
        if not hidden and not any(file.is_relative_to(library) for library in LIBRARIES):
            found.append(file)
    return sorted(found)


@cache
def _install() -> None:
    sys.addaudithook(_note)


def _note(event: str, arguments: Any) -> None:
    if event != "open" or not getattr(_watching, "now", False):
        return
    name, _, flags = arguments
    if isinstance(name, str | bytes) and not (flags or 0) & (os.O_WRONLY | os.O_RDWR):
        _opened[os.path.realpath(os.fsdecode(name))] = None
